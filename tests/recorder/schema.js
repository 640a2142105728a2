// The schema of a release, in the form of migrations/, from a database that its server made.
'use strict';
const { execFileSync } = require('child_process');

const quote = (name) => '`' + name + '`';
const quoteAll = (names) => names.map(quote).join(', ');

/** The tables of `found` (name, references), each after those it refers to. */
function inOrder(found) {
    const left = new Map(found.map((table) => [table.name, table]));
    const order = [];
    while (left.size > 0) {
        const isReady = (table) => table.parents.every((parent) => parent === table.name || !left.has(parent));
        const ready = [...left.values()].filter(isReady).sort((a, b) => (a.name < b.name ? -1 : 1));
        if (ready.length === 0) {
            throw new Error('the references of the tables form a circle');
        }
        order.push(ready[0]);
        left.delete(ready[0].name);
    }
    return order;
}

/** The rows that every new database of the release has. */
function rowsOf(engine, migrations, settings) {
    const now = engine === 'sqlite' ? 'unixepoch() * 1000' : 'CURRENT_TIMESTAMP';
    let text = '';
    if (migrations.length > 0) {
        const rows = migrations.map((name, at) => `    (${at + 1}, '${name}', 1, ${now})`);
        text += 'INSERT INTO `knex_migrations` (`id`, `name`, `batch`, `migration_time`) VALUES\n' + rows.join(',\n') + ';\n';
        text += 'INSERT INTO `knex_migrations_lock` (`index`, `is_locked`) VALUES (1, 0);\n\n';
    }
    const rows = settings.map(([key, value]) => `    ('${key}', '${value}')`);
    return text + 'INSERT INTO `setting` (`key`, `value`) VALUES\n' + rows.join(',\n') + ';\n';
}

const SECRET = 'jwtSecret';

/** The expression that is in the parentheses from `at` on. */
function parenthesised(text, at) {
    let depth = 0;
    for (let end = at; end < text.length; end++) {
        depth += { '(': 1, ')': -1 }[text[end]] || 0;
        if (depth === 0) {
            return text.slice(at, end + 1);
        }
    }
    throw new Error(`no closing parenthesis: ${text.slice(at)}`);
}

function recordSqlite(release, file) {
    const rows = (sql) => JSON.parse(execFileSync('sqlite3', ['-readonly', '-json', file, sql], { encoding: 'utf8' }) || '[]');
    const pragma = (name, of) => rows(`PRAGMA ${name}(${of})`);
    const made = rows("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'");
    const tables = made.map(({ name, sql }) => {
        const columns = pragma('table_info', quote(name)).map((column) => {
            let text = `${quote(column.name)} ${column.type}`;
            if (column.pk) {
                text += ' PRIMARY KEY' + (/AUTOINCREMENT/i.test(sql) ? ' AUTOINCREMENT' : '');
            }
            text += column.notnull ? ' NOT NULL' : '';
            if (column.dflt_value !== null) {
                const isCall = column.dflt_value.includes('(');
                text += ` DEFAULT ${isCall ? `(${column.dflt_value})` : column.dflt_value}`;
            }
            const check = sql.match(new RegExp(`\`${column.name}\`[^,]*? check (?=\\()`, 'i'));
            const checked = check ? parenthesised(sql, check.index + check[0].length) : '';
            return text + (check ? ` CHECK ${checked.replace(/ in\(/g, ' in (').replace(/ , /g, ', ')}` : '');
        });
        const indexes = pragma('index_list', quote(name)).map((index) => {
            const names = pragma('index_info', quote(index.name)).map((column) => column.name);
            const [{ sql: text }] = rows(`SELECT sql FROM sqlite_schema WHERE name = '${index.name}'`).concat({ sql: null });
            const [, condition] = (text || '').split(/ where /i);
            return { ...index, names, condition };
        });
        const unique = indexes.filter((index) => index.origin === 'u').map((index) => `UNIQUE (${quoteAll(index.names)})`);
        const keys = pragma('foreign_key_list', quote(name)).sort((a, b) => (a.from < b.from ? -1 : 1));
        const acts = (when, action) => (action === 'NO ACTION' ? '' : ` ON ${when} ${action}`);
        const references = keys.map((key) => {
            const to = key.to === null ? '' : ` (${quote(key.to)})`;
            const actions = acts('DELETE', key.on_delete) + acts('UPDATE', key.on_update);
            return `FOREIGN KEY (${quote(key.from)}) REFERENCES ${quote(key.table)}${to}${actions}`;
        });
        const lines = [...columns, ...unique, ...references].map((line) => `    ${line}`).join(',\n');
        let text = `CREATE TABLE ${quote(name)} (\n${lines}\n);\n`;
        for (const index of indexes.filter((index) => index.origin === 'c').sort((a, b) => (a.name < b.name ? -1 : 1))) {
            const kind = index.unique ? 'UNIQUE INDEX' : 'INDEX';
            const condition = index.condition ? ` WHERE ${index.condition.replace(/^(\w+)(?= =)/, quote('$1'))}` : '';
            text += `CREATE ${kind} ${quote(index.name)} ON ${quote(name)} (${quoteAll(index.names)})${condition};\n`;
        }
        return { name, text, parents: keys.map((key) => key.table) };
    });
    const has = made.some(({ name }) => name === 'knex_migrations');
    const migrations = has ? rows('SELECT name FROM knex_migrations ORDER BY id').map((row) => row.name) : [];
    const settings = rows('SELECT `key`, value FROM setting ORDER BY id').filter((row) => row.key !== SECRET);
    const [[page], [vacuum], [encoding]] = ['page_size', 'auto_vacuum', 'encoding'].map((name) => rows(`PRAGMA ${name}`));
    return `-- The schema of Uptime Kuma ${release} on SQLite, recorded from a database that the server made.
PRAGMA page_size = ${page.page_size};
PRAGMA auto_vacuum = ${vacuum.auto_vacuum};
PRAGMA encoding = '${encoding.encoding}';
PRAGMA journal_mode = WAL;

${inOrder(tables).map((table) => table.text).join('\n')}
${rowsOf('sqlite', migrations, settings.map((row) => [row.key, row.value]))}`;
}

function recordMariaDb(release, query) {
    const names = query('SHOW TABLES').map(([name]) => name);
    const tables = names.map((name) => {
        const [[, sql]] = query(`SHOW CREATE TABLE ${quote(name)}`);
        const parents = [...sql.matchAll(/REFERENCES `([^`]+)`/g)].map((match) => match[1]);
        const lines = sql.split('\n').slice(1, -1).map((line) => {
            // utf8 is utf8mb3 for all releases of MariaDB; the rest is that of the database.
            const text = line
                .trim()
                .replace(/ CHARACTER SET utf8(mb3)? COLLATE utf8(mb3)?_general_ci/, ' @')
                .replace(/ CHARACTER SET utf8mb4| COLLATE \w+| COMMENT '[^']*'/g, '')
                .replace(' @', ' COLLATE utf8_general_ci');
            return `    ${text.replace(/`,`/g, '`, `')}`;
        });
        return { name, parents, text: `CREATE TABLE ${quote(name)} (\n${lines.join('\n')}\n) ENGINE = InnoDB;\n` };
    });
    const migrations = query('SELECT name FROM knex_migrations ORDER BY id').map(([name]) => name);
    const settings = query('SELECT `key`, value FROM setting ORDER BY id').filter(([key]) => key !== SECRET);
    return `-- The schema of Uptime Kuma ${release} on MariaDB, recorded from a database that the server made.
-- Character set and collation are the database's own, as they are for the server; it needs utf8mb4.

${inOrder(tables).map((table) => table.text).join('\n')}
${rowsOf('mariadb', migrations, settings)}`;
}

module.exports = { SECRET, quote, recordMariaDb, recordSqlite };
