// What the scripts of the game server plugin find in the global object (docs/GAME-SERVERS.md). Put this file where your editor sees it:
//   /// <reference path="../relink.d.ts" />

/** Takes a handler away. */
type Off = () => void;
type MaybePromise = void | Promise<void>;

interface RelinkHost {
  /** Writes a line to relink.log and the server's console. */
  print(...values: unknown[]): void;
}

interface RelinkCommandCall {
  /** The command's name, in small letters. */
  name: string;
  /** The slot of the player who typed it; -1: the server's console, a configuration or another command. */
  player: number;
}

interface RelinkVariable<T extends string | number | boolean> {
  readonly name: string;
  /** Setting it calls the handlers of `onChange`. Throws a TypeError for another type. */
  value: T;
  onChange(handler: (now: T, before: T) => MaybePromise): Off;
  /** Takes it from the console. */
  remove: Off;
}

interface RelinkGame {
  /** The map that runs; undefined between maps, and until the first one begins after the plugin was loaded. */
  readonly map: string | undefined;
  /** The number of the last frame, counted from the plugin's load. */
  readonly frame: number;
  /** Calls the handler once after each frame of the game. Throws with "run": "thread". */
  onFrame(handler: (frame: number) => MaybePromise): Off;
  /** Fulfilled after the next frame, with its number. Throws with "run": "thread". */
  nextFrame(): Promise<number>;
  onMap(handler: (name: string) => MaybePromise): Off;
  onMapEnd(handler: () => MaybePromise): Off;
  /** Called before the scripts go, by a reload or by `meta unload`. */
  onUnload(handler: () => MaybePromise): Off;
  /** A console command. Throws if the configuration does not tell of the game's console, or a script has the name. */
  command(name: string, handler: (args: string[], call: RelinkCommandCall) => MaybePromise, help?: string): Off;
  /** A console command that prints a value or sets it. */
  variable<T extends string | number | boolean>(name: string, initial: T, help?: string): RelinkVariable<T>;
  /** Has the server run a command, as if typed at its console. Throws if the configuration does not tell how. */
  execute(command: string): void;
}

declare const relink: {
  readonly host: RelinkHost;
  readonly game: RelinkGame;
  /** Relink's version. */
  readonly version: string;
};
