'use strict';
// What a guest of the game server plugin runs before the scripts: an error that ends Node is said in the plugin's log, too.
const { print } = relink.host;
process.on('uncaughtExceptionMonitor', (error) => print(String(error?.stack ?? error)));
