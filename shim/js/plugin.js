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
