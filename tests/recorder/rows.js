// What a new monitor, and everything else that a page can add, is in the database: the pages fill in their forms (page.js), and a
// running server stores what they send.
'use strict';
const { execFileSync } = require('child_process');
const { Page, kinds, monitor } = require('./page');

/** What is in every row and says nothing of the page, or is another value in each run. */
const MONITOR = /^(id|name|active|user_id|type|created_date)$/;
const OTHERS = /^(id|user_id|status_page_id|group_id|monitor_id|key|created_date|modified_date|last_updated_date)$/;

const quote = (name) => '`' + name + '`';

/** The value in the form of the files: one line, with a space after each comma and colon. */
function line(value) {
    if (Array.isArray(value)) {
        return `[${value.map(line).join(', ')}]`;
    }
    if (value !== null && typeof value === 'object') {
        return `{${Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${line(one)}`).join(', ')}}`;
    }
    return JSON.stringify(value);
}

/** The same for values that are JSON already, as the database spells them. */
const spelled = (row) => `{${Object.entries(row).map(([key, text]) => `${JSON.stringify(key)}: ${text}`).join(', ')}}`;

/** The newest row of `table`, each of its values as JSON. */
function newest(file, table) {
    const ask = (sql) => JSON.parse(execFileSync('sqlite3', ['-readonly', '-json', file, sql], { encoding: 'utf8' }) || '[]');
    const names = ask(`PRAGMA table_info(${quote(table)})`).map((column) => column.name);
    const wanted = names.filter((name) => !(table === 'monitor' ? MONITOR : OTHERS).test(name));
    const columns = wanted.map((name) => `json_quote(${quote(name)}) AS ${quote(name)}`).join(', ');
    return ask(`SELECT ${columns} FROM ${quote(table)} ORDER BY rowid DESC LIMIT 1`)[0];
}

/** A session of somebody who has logged in. */
async function session(checkout, port) {
    const { io } = require(require.resolve('socket.io-client', { paths: [checkout] }));
    const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'] });
    const ask = (name, ...args) =>
        new Promise((resolve, reject) => {
            const timer = setTimeout(() => reject(new Error(`the server does not answer ${name}`)), 20000);
            socket.emit(name, ...args, (answer) => {
                clearTimeout(timer);
                answer.ok ? resolve(answer) : reject(new Error(`${name}: ${answer.msg}`));
            });
        });
    // Earlier, the server does not listen.
    await new Promise((resolve) => socket.once('setup', resolve));
    const who = { username: 'admin', password: 'Recorder-2026', token: '' };
    await ask('setup', who.username, who.password);
    await ask('login', who);
    return { ask, close: () => socket.close() };
}

/** `02:30` as the page holds a time. */
const hour = (text) => ({ hours: Number(text.slice(0, 2)), minutes: Number(text.slice(3, 5)) });

/** How each kind of item is added, by the key that it has in a fixture; `typed` has the names of columns or of the socket API. */
const ADD = {
    tags: ({ ask }, typed) => ask('addTag', typed),
    proxies: (to, typed) => dialog(to, 'Proxy', 'proxy', typed),
    docker_hosts: (to, typed) => dialog(to, 'DockerHost', 'dockerHost', typed),
    remote_browsers: (to, typed) => dialog(to, 'RemoteBrowser', 'remoteBrowser', typed),
    notifications: (to, { config, ...typed }) => dialog(to, 'Notification', 'notification', { ...typed, ...config }),
    api_keys: async ({ ask, checkout }, typed) => {
        const page = new Page(checkout, 'components/APIKeyDialog.vue', '/settings/api-keys');
        page.vm.noExpire = typed.expires === undefined;
        page.type('key', typed);
        return ask('addAPIKey', await page.submit());
    },
    maintenance: async ({ ask, checkout }, typed) => {
        const page = new Page(checkout, 'pages/EditMaintenance.vue', '/add-maintenance');
        page.vm.affectedMonitors = [{ id: 1 }];
        const [from, to] = [typed.start_time || '02:00', typed.end_time || '03:00'];
        page.type('maintenance', {
            title: typed.title,
            description: typed.description || '',
            strategy: typed.strategy,
            dateRange: [typed.start_date, typed.end_date].filter((date) => date !== undefined),
            timeRange: [hour(from), hour(to)],
            ...(typed.cron && { cron: typed.cron }),
            ...(typed.duration && { durationMinutes: typed.duration / 60 }),
            ...(typed.weekdays && { weekdays: typed.weekdays }),
            ...(typed.days_of_month && { daysOfMonth: typed.days_of_month }),
            ...(typed.interval_day && { intervalDay: typed.interval_day }),
            ...(typed.timezone && { timezoneOption: typed.timezone }),
        });
        return ask('addMaintenance', await page.submit());
    },
    status_pages: async ({ ask }, { slug, title, ...typed }) => {
        await ask('addStatusPage', title, slug);
        const { config } = await ask('getStatusPage', slug);
        await ask('saveStatusPage', slug, { ...config, ...typed }, config.icon, []);
    },
    incidents: ({ ask, slug }, typed) => ask('postIncident', slug, { style: 'primary', ...typed }),
};

const TABLES = {
    tags: 'tag',
    proxies: 'proxy',
    docker_hosts: 'docker_host',
    remote_browsers: 'remote_browser',
    notifications: 'notification',
    api_keys: 'api_key',
    maintenance: 'maintenance',
    status_pages: 'status_page',
    incidents: 'incident',
};

/** Fills in a dialog, and sends what it would. */
async function dialog({ ask, checkout }, name, form, typed) {
    const page = new Page(checkout, `components/${name}Dialog.vue`, '/');
    page.type(form, typed);
    return ask(`add${name}`, await page.submit(), null);
}

/** What the page sends for each type before anything is typed: what is common, and what is different. */
async function pageDefaults(checkout, names) {
    const sent = {};
    for (const name of names) {
        const [first, second] = [await monitor(checkout, name, {}), await monitor(checkout, name, {})];
        // The token of a push monitor is another one each time.
        const kept = Object.entries(first).filter(([key, value]) => line(second[key]) === line(value));
        sent[name] = Object.fromEntries(kept.filter(([key]) => !/^(type|name|active|notificationIDList)$/.test(key)));
    }
    const common = commonOf(Object.values(sent), line);
    const differing = Object.entries(sent).map(([name, values]) => {
        const without = Object.keys(common).filter((key) => !(key in values)).map((key) => [key, null]);
        const other = Object.entries(values).filter(([key, value]) => !(key in common) || line(value) !== line(common[key]));
        return [name, Object.fromEntries([...other, ...without])];
    });
    return { common, kinds: differing.filter(([, values]) => Object.keys(values).length > 0) };
}

/** What most of `rows` have in each column; a column that only some have is not common. */
function commonOf(rows, spell) {
    const names = Object.keys(rows[0]).filter((name) => rows.every((row) => name in row));
    const most = (name) => {
        const counts = new Map();
        rows.forEach((row) => counts.set(spell(row[name]), (counts.get(spell(row[name])) || 0) + 1));
        const best = Math.max(...counts.values());
        return rows.map((row) => row[name]).find((value) => counts.get(spell(value)) === best);
    };
    return Object.fromEntries(names.map((name) => [name, most(name)]));
}

/**
 * Records what the server on `port` stores in `file`. `typed` is what was typed for another recording: { kinds, entities }. Returns the
 * text of the file, and the types for which nothing is known to type.
 */
async function record({ checkout, port, file, release, typed }) {
    const names = kinds(checkout);
    const page = await pageDefaults(checkout, names);
    const { ask, close } = await session(checkout, port);
    const entities = [];
    for (const [key, cases] of Object.entries(typed.entities)) {
        const rows = [];
        for (const one of cases.filter((one) => isKnown(file, TABLES[key], one.typed))) {
            await ADD[key]({ ask, checkout, slug: 'homelab' }, one.typed);
            rows.push(`      {"typed": ${line(one.typed)},\n       "row": ${spelled(newest(file, TABLES[key]))}}`);
        }
        if (rows.length > 0) {
            entities.push(`    "${key}": [\n${rows.join(',\n')}\n    ]`);
        }
    }
    const rows = {};
    for (const name of names) {
        const values = typed.kinds[name] ? typed.kinds[name].typed : {};
        const sent = await monitor(checkout, name, values);
        await ask('add', { ...sent, active: false });
        rows[name] = newest(file, 'monitor');
    }
    close();
    const common = commonOf(Object.values(rows), (text) => text);
    const each = names.map((name) => {
        const own = Object.fromEntries(Object.entries(rows[name]).filter(([column, text]) => text !== common[column]));
        const values = typed.kinds[name] ? typed.kinds[name].typed : {};
        return `    "${name}": {\n      "typed": ${line(values)},\n      "row": ${spelled(own)}\n    }`;
    });
    const list = (values, indent) => Object.entries(values).map(([key, text]) => `${indent}"${key}": ${text}`).join(',\n');
    const sent = Object.fromEntries(Object.entries(page.common).map(([key, value]) => [key, line(value)]));
    const pageKinds = page.kinds.map(([name, values]) => `      "${name}": ${line(values)}`).join(',\n');
    const text = `{
  "release": "${release}",
  "engine": "sqlite",
  "page": {
    "common": {
${list(sent, '      ')}
    },
    "kinds": {
${pageKinds}
    }
  },
  "common": {
${list(common, '    ')}
  },
  "kinds": {
${each.join(',\n')}
  },
  "entities": {
${entities.join(',\n')}
  }
}
`;
    return { text, unknown: names.filter((name) => !typed.kinds[name]) };
}

/** Whether the release has this item. */
function isKnown(file, table) {
    const sql = `SELECT count(*) FROM sqlite_schema WHERE name = '${table}'`;
    return execFileSync('sqlite3', ['-readonly', file, sql], { encoding: 'utf8' }).trim() === '1';
}

module.exports = { record };
