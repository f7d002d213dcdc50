'use strict';
// What a guest of the game server plugin runs before the scripts: an error that ends Node is said in the plugin's log, too, and the plugin
// is told of each file that Node loads.
const { print, loads } = relink.host;
const { fileURLToPath } = require('url');
process.on('uncaughtExceptionMonitor', (error) => print(String(error?.stack ?? error)));

// Node's own watch mode (`--watch`) has the module loaders of all lines report what they load, and what they look for in vain, to a parent by
// process.send(). Here there is no parent: the loaders get a function, and everybody else what there was.
const INSIDE = 'node:internal/modules/';
let send = process.send;

function tell(message) {
  const files = [...(message['watch:require'] ?? []), ...(message['watch:import'] ?? [])];
  for (const file of files) {
    if (typeof file !== 'string') continue;
    if (file.startsWith('file:')) loads(fileURLToPath(file));
    else if (file.startsWith('/')) loads(file);
  }
}

// The file of the code that called `above`.
function caller(above) {
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.prepareStackTrace = (_, sites) => sites[0]?.getFileName();
    Error.stackTraceLimit = 1;
    const holder = {};
    Error.captureStackTrace(holder, above);
    return holder.stack;
  } finally {
    Object.assign(Error, { prepareStackTrace, stackTraceLimit });
  }
}

Object.defineProperty(process, 'send', {
  configurable: true,
  enumerable: false,
  get: function get() {
    return String(caller(get)).startsWith(INSIDE) ? tell : send;
  },
  set: (other) => { send = other; },
});

// relink.game: what happens in the game comes to happens(), once per frame of the game's at most (shim/src/plugin/game.rs).
const { gameState, gameFrames, gameExecute, gameCommand, gameNoCommand } = relink.host;
const state = gameState();
const heard = { frame: new Set(), map: new Set(), mapEnd: new Set(), unload: new Set() };
const commands = new Map();
let waiting = [];
let frames = false;

// A handler that fails is said, and the others are called.
function handle(handler, ...args) {
  const failed = (error) => { print('relink.game:', String(error?.stack ?? error)); };
  try {
    const value = handler(...args);
    return typeof value?.then === 'function' ? value.then(undefined, failed) : value;
  } catch (error) {
    return failed(error);
  }
}

function askForFrames() {
  const wanted = heard.frame.size + waiting.length > 0;
  if (wanted === frames) return;
  frames = wanted;
  gameFrames(wanted);
}

function needFrames() {
  if (!state.frames) throw new Error('relink.game: there are no frames with "run": "thread"');
}

function listen(kind, handler, then = () => {}) {
  if (typeof handler !== 'function') throw new TypeError('relink.game: a handler is a function');
  const entry = (...args) => handler(...args);
  heard[kind].add(entry);
  then();
  return () => {
    heard[kind].delete(entry);
    then();
  };
}

const events = {
  frame(number) {
    state.frame = number;
    const now = waiting;
    waiting = [];
    now.forEach((resolve) => resolve(number));
    heard.frame.forEach((handler) => handle(handler, number));
    askForFrames();
  },
  map(name) {
    state.map = name;
    heard.map.forEach((handler) => handle(handler, name));
  },
  mapEnd() {
    state.map = undefined;
    heard.mapEnd.forEach((handler) => handle(handler));
  },
  command(name, args, player) {
    const handler = commands.get(name);
    if (handler) handle(handler, args, { name, player });
  },
};

// The console does not tell capital letters from small ones.
function command(name, handler, help = '') {
  if (!/^[a-z_][\w.-]{0,63}$/i.test(name)) throw new TypeError(`relink.game: "${name}" is no name for a command`);
  if (typeof handler !== 'function') throw new TypeError('relink.game: a handler is a function');
  const key = name.toLowerCase();
  gameCommand(key, String(help));
  commands.set(key, handler);
  return () => {
    if (commands.get(key) !== handler) return;
    commands.delete(key);
    gameNoCommand(key);
  };
}

const readers = {
  string: (text) => text,
  number: (text) => (text.trim() === '' ? NaN : Number(text)),
  boolean: (text) => ({ 1: true, true: true, 0: false, false: false })[text.toLowerCase()],
};

// A command that prints a value or sets it, as the console's own variables do.
function variable(name, initial, help = '') {
  const read = readers[typeof initial];
  if (!read) throw new TypeError('relink.game: a variable is a string, a number or a boolean');
  const changed = new Set();
  let value = initial;
  function set(next) {
    if (typeof next !== typeof initial || Number.isNaN(next)) {
      throw new TypeError(`relink.game: "${name}" is a ${typeof initial}`);
    }
    const before = value;
    value = next;
    if (before !== next) changed.forEach((handler) => handle(handler, next, before));
  }
  const remove = command(name, (args) => {
    if (args.length === 0) return print(`"${name}" = "${value}"`);
    const next = read(args.join(' '));
    if (next === undefined || Number.isNaN(next)) return print(`"${name}" is a ${typeof initial}`);
    return set(next);
  }, help);
  return Object.freeze({
    name,
    get value() { return value; },
    set value(next) { set(next); },
    onChange(handler) {
      changed.add(handler);
      return () => { changed.delete(handler); };
    },
    remove,
  });
}

Object.defineProperties(relink.game, Object.getOwnPropertyDescriptors({
  get map() { return state.map ?? undefined; },
  get frame() { return gameState().frame; },
  onFrame(handler) {
    needFrames();
    return listen('frame', handler, askForFrames);
  },
  nextFrame() {
    needFrames();
    return new Promise((resolve) => {
      waiting.push(resolve);
      askForFrames();
    });
  },
  onMap: (handler) => listen('map', handler),
  onMapEnd: (handler) => listen('mapEnd', handler),
  onUnload: (handler) => listen('unload', handler),
  command,
  variable,
  execute(text) { gameExecute(String(text)); },
}));
Object.freeze(relink.game);

exports.happens = (all) => all.forEach(([kind, ...args]) => events[kind](...args));
exports.leaves = () => Promise.all([...heard.unload].map((handler) => handle(handler)));
