// The first script of a guest that its host talks to (shim/include/relink.h). Node hands it `process` and `require`; the
// channel (shim/cpp/channel.cc) is a linked binding. What the host sends comes to dispatch(); each answer is a JSON text.
const core = process._linkedBinding('relink');
const settings = JSON.parse(core.settings);
const { pathToFileURL } = require('url');
// Scripts may replace what they find in the global object.
const { parse, stringify } = JSON;
const { listen, answer, host: callHost } = core;

// Of enum relink_answer.
const { OK, THREW, UNKNOWN } = settings.answers;
// The name by which the host asks for relink_run() instead of a function.
const RUN = '';

// What relink_run() has loaded, by the name that the host gave it.
const loaded = new Map();
// Relative names are looked for from here.
const folder = () => path.join(settings.cwd || process.cwd(), path.sep);

function load(specifier, isPath) {
  const importable = (file) => (isPath ? pathToFileURL(file ?? specifier).href : specifier);
  return requireOrImport(Module.createRequire(folder()), specifier, folder(), importable);
}

const loaders = {
  file: ({ what }) => load(path.resolve(folder(), what), true),
  string: ({ what, as }) => compile(what, path.resolve(folder(), `[relink ${as}]`)),
  package: ({ what }) => load(what, false),
};

// What a loaded script offers: its kind and that of its members.
function describe(exports) {
  const members = {};
  if (exports !== null && (typeof exports === 'object' || typeof exports === 'function')) {
    for (const name of Object.keys(exports)) members[name] = typeof exports[name];
  }
  return { type: typeof exports, members };
}

function run(request) {
  const keep = (exports) => {
    loaded.set(request.as, exports);
    return describe(exports);
  };
  const exports = loaders[request.kind](request);
  return exports instanceof Promise ? exports.then(keep) : keep(exports);
}

class Unknown extends Error {}

// "name.member.function" of a loaded script, or else of the global object; called as a member of what it belongs to.
function call(name, args) {
  const [first, ...members] = name.split('.');
  let holder = globalThis;
  let value = loaded.has(first) ? loaded.get(first) : globalThis[first];
  for (const member of members) {
    holder = value;
    value = value?.[member];
  }
  if (typeof value !== 'function') throw new Unknown(`${name} is ${typeof value}, not a function`);
  return Reflect.apply(value, holder, args);
}

function refuse(id, error) {
  const told = error instanceof Error ? error : { name: 'thrown', message: String(error) };
  const { name, message, code, stack } = told;
  answer(id, error instanceof Unknown ? UNKNOWN : THREW, stringify({ name, message, code, stack }));
}

function settle(id, value) {
  let text;
  try {
    text = stringify(value) ?? 'null';
  } catch (error) {
    return refuse(id, error);
  }
  answer(id, OK, text);
}

function dispatch(id, name, text) {
  try {
    const value = name === RUN ? run(parse(text)) : call(name, parse(text));
    if (typeof value?.then === 'function') value.then((it) => settle(id, it), (error) => refuse(id, error));
    else settle(id, value);
  } catch (error) {
    refuse(id, error);
  }
}

// relink.host.NAME(...) calls the host's function of that name. (`then` would make the object look like a promise.)
const host = new Proxy(Object.create(null), {
  get: (_, name) => (typeof name === 'symbol' || name === 'then' ? undefined
    : (...args) => parse(callHost(name, stringify(args)))),
});
// The plugin's prelude makes relink.game (shim/js/plugin.js).
const game = settings.game ? { game: {} } : {};
Object.defineProperty(globalThis, 'relink', { value: Object.freeze({ host, version: settings.version, ...game }) });

// What is withheld is so below JavaScript. This only says it at once, where a script asks for it as scripts do.
if (settings.disallow?.includes('inspector')) {
  const inspector = require('inspector');
  const no = () => {
    throw Object.assign(new Error('the inspector is not allowed in this guest'), { code: 'ERR_INSPECTOR_NOT_AVAILABLE' });
  };
  Object.assign(inspector, { open: no, waitForDebugger: no });
  inspector.Session.prototype.connect = no;
  Module.syncBuiltinESMExports();
}

if (settings.env) {
  // By this one, which is not listed, the module loaders report what they load (shim/js/plugin.js).
  const reports = 'WATCH_REPORT_DEPENDENCIES';
  const value = process.env[reports];
  process.env = { ...process.env, ...settings.env };
  if (value && !(reports in process.env)) Object.defineProperty(process.env, reports, { value, configurable: true });
}
listen(dispatch);
if (settings.exposes) core.expose({ require: Module.createRequire(folder()), process, global: globalThis });
if (settings.script) Module.runMain(settings.script);
