'use strict';
// Stands before bootstrap.js and loader.js, which are compiled with it: how a file or package is loaded, be it CommonJS or an ES module.
const Module = require('module');
const path = require('path');

// What require() says of an ES module that it cannot load, or cannot load now. import() can.
const FOR_IMPORT = new Set([
  'ERR_REQUIRE_ESM', 'ERR_REQUIRE_ASYNC_MODULE', 'ERR_REQUIRE_CYCLE_MODULE', 'ERR_REQUIRE_ESM_RACE_CONDITION',
  'ERR_PACKAGE_PATH_NOT_EXPORTED',
]);

// Runs the source of a CommonJS module as if it stood in that file.
function compile(source, file) {
  const module = new Module(file);
  module.filename = file;
  module.paths = Module._nodeModulePaths(path.dirname(file));
  module._compile(source, file);
  module.loaded = true;
  return module.exports;
}

// Where require() finds it; undefined: nowhere.
function found(from, specifier) {
  try {
    return from.resolve(specifier);
  } catch {
    return undefined;
  }
}

// require() where it does, else import() in a module of `folder`, which gives a promise. `from` is the require() to be used;
// `importable` gives the specifier for import(). A CommonJS module whose own require() fails is not run a second time: its error is thrown.
function requireOrImport(from, specifier, folder, importable) {
  const file = found(from, specifier);
  const load = Module._load;
  let requires = false;
  Module._load = function watched(request, parent, ...rest) {
    if (file !== undefined && parent?.filename === file) requires = true;
    return Reflect.apply(load, this, [request, parent, ...rest]);
  };
  const { _load: watched } = Module;
  try {
    return from(specifier);
  } catch (error) {
    if (requires || !FOR_IMPORT.has(error?.code)) throw error;
    // This script has no import() of its own, a module has.
    const dynamic = compile('module.exports = (it) => import(it);', path.join(folder, '[relink import]'));
    return dynamic(importable(file));
  } finally {
    // A script may have put a function of its own around it, which stays.
    if (Module._load === watched) Module._load = load;
  }
}

