// The script side of the MetaCall-style loader (shim/src/loader). It is compiled once per guest; the loader calls what it exports
// with JSON texts and gets JSON texts. Values are encoded as `encode` says, for JSON has no buffers, functions or promises.
// What scripts may replace is taken while it is new.
const { parse, stringify } = JSON;
const host = relink.host;
const HOST = 'relink.loader';
// Deeper nesting than this is refused, on both sides: nobody's parser gives up first.
const DEEPEST = 100;

const handles = new Map();     // number -> [[name, exports], ...]
const functions = new Map();   // number -> { fn, holder }
const promises = new Map();    // number -> promise
const pointers = new WeakMap(); // object -> address as text
const ofHost = new WeakMap();  // function -> number of the host's function
const searched = [];           // folders, in the order in which they were added
let last = 0;

const keep = (map, value) => {
  map.set(++last, value);
  return last;
};

// --- values -----------------------------------------------------------------------------------------------------------------
// null, true, 1.5, "text" are themselves; all else is an array that begins with its kind:
//   a array  m map (key, value, key, value...)  b buffer (base64)  n number that JSON has not  l 64-bit integer
//   f function of ours (number, name, parameters, async)  h function of the host's (number, name)  p promise of ours
//   e error (message, label, stack)  t thrown (value)  x pointer (address)

const text = (it) => String(it).replace(/\p{Surrogate}/gu, '\ufffd');

function describeFunction(fn, holder) {
  const { name, params, async } = discoverFunction(fn);
  return ['f', keep(functions, { fn, holder }), name, params, async];
}

const describeError = (error) => ['e', text(error.message), text(error.code ?? error.name), text(error.stack ?? '')];

// Whether a rejection is looked at is up to the host.
function keepPromise(promise) {
  promise.catch(() => {});
  return keep(promises, promise);
}

function encodeObject(it, depth) {
  if (depth > DEEPEST) throw new RangeError(`a value is nested deeper than ${DEEPEST}, or contains itself`);
  if (Array.isArray(it)) return ['a', ...Array.from(it, (element) => encode(element, depth + 1))];
  if (ArrayBuffer.isView(it)) return ['b', Buffer.from(it.buffer, it.byteOffset, it.byteLength).toString('base64')];
  if (it instanceof ArrayBuffer || it instanceof SharedArrayBuffer) return ['b', Buffer.from(it).toString('base64')];
  if (it instanceof Error) return describeError(it);
  if (pointers.has(it)) return ['x', pointers.get(it)];
  if (typeof it.then === 'function') return ['p', keepPromise(Promise.resolve(it))];
  if (it instanceof Set) return encodeObject([...it], depth);
  if (typeof it.toJSON === 'function') return encode(it.toJSON(), depth + 1);
  const entries = it instanceof Map ? [...it] : Object.entries(it);
  return ['m', ...entries.flatMap(([key, value]) => [text(key), encode(value, depth + 1)])];
}

function encode(it, depth = 0) {
  switch (typeof it) {
    case 'undefined': return null;
    case 'boolean': return it;
    case 'string': return text(it);
    case 'number': return Number.isFinite(it) && !Object.is(it, -0) ? it : ['n', Object.is(it, -0) ? '-0' : String(it)];
    case 'bigint': {
      if (BigInt.asIntN(64, it) !== it) throw new RangeError(`${it} does not fit into 64 bits`);
      return ['l', String(it)];
    }
    case 'function': return ofHost.has(it) ? ['h', ofHost.get(it)] : describeFunction(it, undefined);
    case 'symbol': throw new TypeError('a symbol cannot be given to another language');
    default: return it === null ? null : encodeObject(it, depth);
  }
}

function decodeError([message, label, stack]) {
  const error = new Error(message);
  if (label) error.code = label;
  if (stack) error.stack = `${error.stack}\n${stack}`;
  return error;
}

// A function of the host's is kept there until it is collected here.
const collected = new FinalizationRegistry((number) => host[HOST]('drop', number));

function decodeHostFunction([number, name]) {
  const fn = (...args) => unwrap(host[HOST]('call', number, ...args.map((it) => encode(it))));
  Object.defineProperty(fn, 'name', { value: name });
  ofHost.set(fn, number);
  collected.register(fn, number);
  return fn;
}

function decodePointer([address]) {
  const pointer = Object.freeze(Object.create(null));
  pointers.set(pointer, address);
  return pointer;
}

const decoders = {
  a: (elements) => elements.map(decode),
  m: (flat) => {
    const made = {};
    for (let i = 0; i < flat.length; i += 2) {
      Object.defineProperty(made, flat[i], { value: decode(flat[i + 1]), enumerable: true, writable: true, configurable: true });
    }
    return made;
  },
  b: ([base64]) => Buffer.from(base64, 'base64'),
  n: ([number]) => Number(number),
  l: ([digits]) => (Number.isSafeInteger(Number(digits)) ? Number(digits) : BigInt(digits)),
  f: ([number]) => functions.get(number).fn,
  h: decodeHostFunction,
  p: ([number]) => promises.get(number),
  e: decodeError,
  t: ([value]) => decode(value),
  x: decodePointer,
};

function decode(it) {
  if (it === null) return undefined;
  return Array.isArray(it) ? decoders[it[0]](it.slice(1)) : it;
}

// What the host gives back: a value, or something to be thrown.
function unwrap(it) {
  const value = decode(it);
  if (Array.isArray(it) && it[0] === 't') throw value;
  return value;
}

// What is thrown becomes a value.
function guarded(work) {
  try {
    return encode(work());
  } catch (error) {
    return thrown(error);
  }
}

function thrown(error) {
  try {
    return ['t', encode(error)];
  } catch (unspeakable) {
    return ['t', describeError(unspeakable)];
  }
}

// --- loading ----------------------------------------------------------------------------------------------------------------

// Folders that the core names are looked in by every require(), after the script's own.
const lookupPaths = Module._resolveLookupPaths;
Module._resolveLookupPaths = (request, parent) => {
  const found = lookupPaths(request, parent);
  return found === null || /^\.\.?(\/|$)/.test(request) ? found : [...found, ...searched];
};

// What require() finds is found by import() as well, also in folders that only require() looks in.
function loadFrom(from, specifier) {
  const importable = (file) => (file === undefined ? specifier : require('url').pathToFileURL(file).href);
  return requireOrImport(from, specifier, process.cwd(), importable);
}

// A file, from the working directory and the folders that the core named; else what require() makes of the name.
function loadFile(name) {
  const from = Module.createRequire(path.join(process.cwd(), path.sep));
  for (const folder of [process.cwd(), ...searched]) {
    const file = path.resolve(folder, name);
    try {
      from.resolve(file);
    } catch (error) {
      if (error?.code !== 'MODULE_NOT_FOUND') throw error;
      continue;
    }
    return loadFrom(from, file);
  }
  return loadFrom(from, name);
}

function loadText(name, source) {
  return compile(source, path.resolve(name));
}

const loaders = {
  files: (names) => names.map((name) => [name, loadFile(name)]),
  text: (name, source) => [[name, loadText(name, source)]],
  package: (name) => [[name, loadFrom(Module.createRequire(path.join(process.cwd(), path.sep)), name)]],
};

// The number of the handle; a promise of it where an ES module has to be waited for.
function load(kind, ...args) {
  const loaded = loaders[kind](...args);
  const done = (exports) => keep(handles, loaded.map(([name], n) => [name, exports[n]]));
  const exports = loaded.map(([, it]) => it);
  return exports.some((it) => it instanceof Promise) ? Promise.all(exports).then(done) : done(exports);
}

// Forgets what was loaded, so that a file is read again the next time.
function clear(number) {
  const from = Module.createRequire(path.join(process.cwd(), path.sep));
  for (const [name] of handles.get(number) ?? []) {
    for (const folder of [process.cwd(), ...searched]) {
      try {
        delete require.cache[from.resolve(path.resolve(folder, name))];
      } catch { /* never was a file */ }
    }
  }
  handles.delete(number);
}

// --- discovery --------------------------------------------------------------------------------------------------------------

const CLOSING = { '(': ')', '[': ']', '{': '}' };
const STRING = /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`/ys;
const COMMENT = /\/\*.*?\*\/|\/\/[^\n]*/ys;

const matchAt = (pattern, source, at) => {
  pattern.lastIndex = at;
  return pattern.exec(source)?.[0] ?? '';
};

// The texts between the commas of the list that begins at `at`, without comments; undefined if it has no end.
function splitList(source, at) {
  const parts = [''];
  const open = [];
  for (let i = at; i < source.length; i += 1) {
    const comment = matchAt(COMMENT, source, i);
    const string = comment ? '' : matchAt(STRING, source, i);
    const sign = source[i];
    if (comment) {
      i += comment.length - 1;
      continue;
    }
    if (!string && CLOSING[sign]) open.push(CLOSING[sign]);
    else if (!string && sign === open.at(-1)) open.pop();
    else if (!string && open.length === 0 && sign === ')') return parts;
    if (!string && open.length === 0 && sign === ',') parts.push('');
    else parts[parts.length - 1] += string || sign;
    if (string) i += string.length - 1;
  }
  return undefined;
}

const HEAD = /^(?:async\s*)?(?:function\b\s*)?\*?\s*(?:[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*|\[[^\]]*\])?\s*\(/u;
const ALONE = /^(?:async\s+)?([\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*)\s*=>/u;

// The names of a function's parameters as its source has them; one that has no name is `_argN`.
function parameters(fn) {
  const source = Function.prototype.toString.call(fn);
  const alone = ALONE.exec(source);
  if (alone) return [alone[1]];
  const head = HEAD.exec(source);
  const list = head && !source.endsWith('{ [native code] }') ? splitList(source, head[0].length) : undefined;
  const unnamed = Array.from({ length: fn.length }, (_, n) => `_arg${n}`);
  if (list === undefined) return unnamed;
  const parts = list.map((part) => part.trim()).filter((part) => part !== '');
  if (parts.length < fn.length) return unnamed;
  return parts.map((part, n) => /^(?:\.\.\.)?\s*([\p{ID_Start}$_][\p{ID_Continue}$]*)/u.exec(part)?.[1] ?? `_arg${n}`);
}

const isClass = (it) => /^class\b/.test(Function.prototype.toString.call(it));

function discoverFunction(fn) {
  const async = Object.prototype.toString.call(fn) === '[object AsyncFunction]';
  return { name: text(fn.name), params: parameters(fn).map(text), async };
}

// What a module offers: its functions by their names, or itself if it is one.
function offered([name, exports]) {
  if (typeof exports === 'function' && !isClass(exports)) {
    return [[exports.name || path.parse(name).name, exports, undefined]];
  }
  if (exports === null || typeof exports !== 'object') return [];
  const members = Object.keys(exports).map((key) => [key, exports[key], exports]);
  return members.filter(([, it]) => typeof it === 'function' && !isClass(it));
}

function discover(number) {
  const found = new Map();
  for (const module of handles.get(number)) {
    for (const [key, fn, holder] of offered(module)) found.set(key, describeFunction(fn, holder));
  }
  return [...found].map(([key, described]) => [text(key), described]);
}

// --- calls ------------------------------------------------------------------------------------------------------------------

const invoke = (number, args) => {
  const { fn, holder } = functions.get(number);
  return Reflect.apply(fn, holder, args.map(decode));
};

// One of two functions of the host's gets what came of it, and what that gives back is what the promise becomes.
const settled = (promise, token) => promise.then(
  (value) => unwrap(host[HOST]('settle', token, true, guarded(() => value))),
  (error) => unwrap(host[HOST]('settle', token, false, guarded(() => error))),
);

exports.load = load;
exports.clear = clear;
exports.discover = discover;
exports.path = (folder) => {
  const absolute = path.resolve(folder);
  if (!searched.includes(absolute)) searched.push(absolute);
};
exports.call = (number, ...args) => guarded(() => invoke(number, args));
exports.await = (token, number, ...args) => encode(settled(new Promise((done) => done(invoke(number, args))), token));
exports.awaitPromise = (token, number) => encode(settled(promises.get(number), token));
exports.releaseFunction = (number) => functions.delete(number);
exports.releasePromise = (number) => promises.delete(number);
