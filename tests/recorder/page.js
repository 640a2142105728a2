// What the pages of the server send. The script of a page (a .vue file of the checkout) is run without a browser: its fields are
// what `data()` returns, its watchers run after every change, and what it would send is kept instead.
'use strict';
const fs = require('fs');
const path = require('path');

/** Stands for everything that a page imports and that has no influence on what it sends. */
const nothing = new Proxy(function () {}, {
    get: (_, name) => (name === Symbol.toPrimitive ? () => '' : nothing),
    apply: () => nothing,
    construct: () => nothing,
});

/** The names of an import declaration: `Modal`, or `{ a, b as c }`. */
function imported(clause) {
    const names = clause.replace(/[{}]/g, ',').split(',');
    return names.map((name) => name.trim().split(/\s+as\s+/).pop()).filter((name) => /^\w+$/.test(name));
}

/** The component that `file` exports. */
function component(checkout, file) {
    const [, script] = fs.readFileSync(path.join(checkout, 'src', file), 'utf8').match(/^<script[^>]*>\n([^]*?)^<\/script>/m);
    const util = require(path.join(checkout, 'src', 'util.js'));
    const scope = {};
    const body = script.replace(/^import\s+([^"']+?)\s+from\s+["']([^"']+)["'];?$/gm, (_, clause, from) => {
        imported(clause).forEach((name) => (scope[name] = /\/util(\.ts)?$/.test(from) ? util[name] : nothing));
        return '';
    });
    const isPlain = /^import/m.exec(body) === null;
    if (!isPlain) {
        throw new Error(`${file} has an import that the recorder cannot read`);
    }
    const text = body.replace(/^export default (defineComponent\()?/m, 'return $1');
    return new Function(...Object.keys(scope), text)(...Object.values(scope));
}

/** A page that somebody has opened to add something. */
class Page {
    constructor(checkout, file, address) {
        const made = component(checkout, file);
        this.sent = null;
        const keep = (value) => {
            this.sent = JSON.parse(JSON.stringify(value));
        };
        const root = {
            proxyList: [],
            notificationList: [],
            remoteBrowserList: [],
            dockerHostList: [],
            monitorList: {},
            monitorTypeList: {},
            getSocket: () => ({ emit: (name, value) => name.startsWith('add') && keep(value) }),
            date: () => '2026-01-31',
        };
        ['add', 'addAPIKey', 'addMaintenance'].forEach((name) => (root[name] = keep));
        this.vm = {
            $root: new Proxy(root, { get: (all, name) => (name in all ? all[name] : nothing) }),
            $route: { path: address, fullPath: address, params: {} },
            $router: nothing,
            $refs: nothing,
            $t: (text) => text,
            $emit: () => {},
            // The pages of monitors and maintenance windows refuse what is incomplete; nothing here is.
            isInputValid: () => true,
            hasMonitors: true,
        };
        for (const [name, how] of Object.entries(made.computed || {})) {
            const get = (typeof how === 'function' ? how : how.get).bind(this.vm);
            if (!(name in this.vm)) {
                Object.defineProperty(this.vm, name, { get, set: () => {} });
            }
        }
        for (const [name, method] of Object.entries(made.methods || {})) {
            this.vm[name] = this.vm[name] || method.bind(this.vm);
        }
        Object.assign(this.vm, made.data.call(this.vm));
        this.watch = Object.entries(made.watch || {}).filter(([name]) => !name.startsWith('$'));
        this.seen = this.watch.map(([name]) => this.read(name));
        if (made.methods.show) {
            Object.assign(this.vm, { modal: nothing, keyaddmodal: nothing });
            this.vm.show(null);
        } else {
            this.vm.init();
        }
        this.settle();
    }

    read(name) {
        return name.split('.').reduce((value, key) => (value === null || value === undefined ? value : value[key]), this.vm);
    }

    /** Runs the watchers until nothing changes any more. */
    settle() {
        for (let rounds = 0; rounds < 20; rounds++) {
            let isQuiet = true;
            this.watch.forEach(([name, run], at) => {
                const [before, now] = [this.seen[at], this.read(name)];
                // What is computed may be another object of the same content each time.
                if (JSON.stringify(before) !== JSON.stringify(now)) {
                    this.seen[at] = now;
                    isQuiet = false;
                    run.call(this.vm, now, before);
                }
            });
            if (isQuiet) {
                return;
            }
        }
        throw new Error('the watchers of a page never end');
    }

    /** Somebody fills in `values` of the form `form`, one after the other. */
    type(form, values) {
        for (const [name, value] of Object.entries(values)) {
            this.vm[form][name] = value;
            this.settle();
        }
    }

    /** What the page sends. */
    async submit() {
        const done = this.vm.submit();
        if (this.sent === null) {
            await done;
        }
        return this.sent;
    }
}

/** What the page sends for a new monitor of type `kind` for which `typed` was filled in. */
async function monitor(checkout, kind, typed) {
    const log = console.log;
    console.log = () => {};
    const page = new Page(checkout, 'pages/EditMonitor.vue', '/add');
    page.type('monitor', { type: kind, name: kind, ...typed });
    const sent = await page.submit();
    clearTimeout(page.vm.checkDomainDebounce);
    console.log = log;
    return sent;
}

/** The types of monitors in the order of the page. */
function kinds(checkout) {
    const text = fs.readFileSync(path.join(checkout, 'src/pages/EditMonitor.vue'), 'utf8').replace(/<!--[^]*?-->/g, '');
    const [, list] = text.match(/<select[^>]*v-model="monitor\.type"[^>]*>([^]*?)<\/select>/);
    return [...list.matchAll(/<option[^>]*\svalue="([^"]+)"/g)].map((option) => option[1]);
}

module.exports = { Page, kinds, monitor };
