//! Process layer: the plugin in a game server that is laid out as Counter-Strike 2's, by each of Metamod's two plugin interfaces: 17 with
//! SourceHook, 18 with KHook. The game's own scripts run beside it in the same V8, and their sum tells whether they were disturbed.

#[path = "support/plugins.rs"]
mod plugins;
mod support;

use plugins::{Game, Server, LONG};
use serde_json::json;
use std::time::Instant;

/// The plugin interfaces.
const INTERFACES: [u32; 2] = [17, 18];

/// Prints "NAME ticks" again and again, and "NAME goes" when it is unloaded.
fn ticking(name: &str) -> String {
    format!(
        "relink.host.print('{name} is here');
        setInterval(() => relink.host.print('{name} ticks'), 2);
        exports.unload = () => relink.host.print('{name} goes');"
    )
}

/// A server whose Metamod has this plugin interface, with V8 initialised under these flags.
fn server(interface: u32, flags: &str) -> Server {
    let mut server = Server::start();
    server.yes(&format!("metamod {interface}"));
    server.yes(&format!("engine {}", plugins::server().1.display()));
    server.yes(&format!("flags {flags}"));
    server.yes("v8");
    server
}

/// What the game's scripts come to in so many frames without the plugin.
fn sum_without(frames: u64, flags: &str) -> u64 {
    let mut server = server(17, flags);
    server.yes(&format!("frames {frames} 0"));
    server.quit().1
}

/// Lets the server leave; its scripts must have come to what they come to alone.
fn leaves_as_without(server: Server, flags: &str, what: &str) {
    let (frames, sum) = server.quit();
    assert_eq!(sum, sum_without(frames, flags), "the game has gone another way: {what}");
}

fn ticks(server: &Server, name: &str) -> usize {
    server.said.iter().filter(|line| line.ends_with(&format!("{name} ticks"))).count()
}

/// Waits until no hook of the plugin's is left. KHook takes hooks out by a thread of its own.
fn no_hook_is_left(server: &mut Server) {
    let limit = Instant::now() + LONG;
    while server.yes("hooks")["hooks"] != json!(0) {
        assert!(Instant::now() < limit, "a hook is left");
        server.yes("frames 1 200");
    }
}

fn maps_a_guest(server: &Server) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid())).expect("maps");
    maps.contains("libnode-relink")
}

/// Loaded, ticked after each frame beside another plugin's hooks or alone, unloaded; and again, which leaves nothing.
#[test]
fn frames_come_by_either_hook() {
    for interface in INTERFACES {
        // Whose hook is the first calls the game's function.
        for witness in [1, 0] {
            let game = Game::new(&json!({}));
            game.script("a.js", &ticking("it"));
            let mut server = server(interface, "");
            server.yes(&format!("witness {witness}"));
            for round in 1..=5 {
                server.said.clear();
                server.yes(&game.load());
                server.until("it ticks");
                server.yes("query");
                let before = server.yes("frames 0 0");
                let after = server.yes("frames 50 200");
                for which in ["before", "after"] {
                    let seen = after[which].as_u64().zip(before[which].as_u64()).map(|(a, b)| a - b);
                    assert_eq!(seen, Some(50 * witness), "{interface} {round} {which}");
                }
                server.yes("unload");
                assert!(server.said.iter().any(|line| line.ends_with("it goes")), "{:#?}", server.said);
                assert!(!maps_a_guest(&server), "{interface}: the guest is still there");
                no_hook_is_left(&mut server);
                let before = ticks(&server, "it");
                server.yes("frames 20 200");
                assert_eq!(ticks(&server, "it"), before, "{interface}: it still runs");
            }
            leaves_as_without(server, "", &format!("{interface} {witness}"));
        }
    }
}

#[test]
fn a_pause_stops_the_ticks_and_a_change_brings_new_scripts() {
    for interface in INTERFACES {
        let game = Game::new(&json!({}));
        game.script("a.js", &ticking("old"));
        let mut server = server(interface, "");
        server.yes(&game.load());
        server.until("old ticks");
        server.yes("pause");
        let before = ticks(&server, "old");
        assert!(server.no("query").contains("paused"));
        server.yes("frames 64 200");
        assert_eq!(ticks(&server, "old"), before, "{interface}: a paused guest runs");
        server.yes("unpause");
        server.said.clear();
        server.until("old ticks");

        game.script("a.js", &ticking("new"));
        server.until("new ticks");
        assert!(server.said.iter().any(|line| line.ends_with("old goes")), "{:#?}", server.said);
        server.said.clear();
        server.yes("frames 32 200");
        assert_eq!(ticks(&server, "old"), 0, "{interface}: an old timer ticks");
        server.yes("unload");
        no_hook_is_left(&mut server);
        leaves_as_without(server, "", &interface.to_string());
    }
}

/// `meta unload` and `meta load` in the course of a frame: KHook cannot take a hook out before the frame has ended.
#[test]
fn it_comes_and_goes_within_frames() {
    for interface in INTERFACES {
        let game = Game::new(&json!({}));
        game.script("a.js", &ticking("it"));
        let mut server = server(interface, "");
        for _ in 0..3 {
            server.said.clear();
            server.yes(&format!("within {}", game.load()));
            server.answers("frames 1 0", &[true, true]);
            server.until("it ticks");
            server.yes("within unload");
            server.answers("frames 1 0", &[true, true]);
            assert!(!maps_a_guest(&server), "{interface}: the guest is still there");
            no_hook_is_left(&mut server);
        }
        // Both in one frame: the second waits for the next one where the hook of the first is still there.
        server.yes(&game.load());
        server.yes(&format!("within unload;{}", game.load()));
        let loaded = server.answers("frames 1 0", &[true, interface == 17, true]);
        if interface == 18 {
            assert!(loaded[1]["error"].as_str().is_some_and(|why| why.starts_with("E1006")), "{loaded:?}");
            no_hook_is_left(&mut server);
            server.yes(&game.load());
        }
        server.said.clear();
        server.until("it ticks");
        server.yes("unload");
        no_hook_is_left(&mut server);
        leaves_as_without(server, "", &interface.to_string());
    }
}

/// As released, by name alone, and one that leaves a plugin's hooks where they are.
#[test]
fn every_way_that_a_metamod_has_khook_will_do() {
    for how in ["plugin", "factory", "keeps"] {
        let game = Game::new(&json!({}));
        game.script("a.js", &ticking("it"));
        let mut server = server(18, "");
        server.yes(&format!("khook {how}"));
        for _ in 0..2 {
            server.said.clear();
            server.yes(&game.load());
            server.until("it ticks");
            server.yes("unload");
            no_hook_is_left(&mut server);
        }
        assert!(!game.log().contains("E1005"), "{how}: {}", game.log());
        leaves_as_without(server, "", how);
    }
}

/// Frames are the game's thread's. Calls of the same function on another thread are not.
#[test]
fn a_call_on_another_thread_is_no_frame() {
    for interface in INTERFACES {
        let game = Game::new(&json!({}));
        game.script("a.js", &ticking("it"));
        let mut server = server(interface, "");
        server.yes("witness 0");
        server.yes(&game.load());
        server.until("it ticks");
        std::thread::sleep(std::time::Duration::from_millis(20));
        let before = ticks(&server, "it");
        server.yes("stray 20");
        assert_eq!(ticks(&server, "it"), before, "{interface}: Node ran on another thread");
        server.said.clear();
        server.until("it ticks");
        server.yes("unload");
        no_hook_is_left(&mut server);
        leaves_as_without(server, "", &interface.to_string());
    }
}

/// What is asked of a server and a game so that there are no frames, for which interface, and a part of the reason.
type NoFrames = (u32, fn(&mut Server, &Game), &'static str);

const NO_FRAMES: [NoFrames; 8] = [
    (17, |server, _| drop(server.yes("sourcehook 4")), "no SourceHook of interface 5"),
    (17, |server, _| drop(server.yes("sourcehook 0")), "no SourceHook of interface 5"),
    (17, |server, _| drop(server.yes("versions 2 14 17 29")), "engine 29 is not known"),
    (18, |server, _| drop(server.yes("khook none")), "no KHook"),
    (18, |server, _| drop(server.yes("khook refuses")), "KHook refused the hook"),
    (18, |server, _| drop(server.yes("versions 2 18 18 29")), "engine 29 is not known"),
    (17, no_such_interface, "no interface Else001"),
    (18, no_such_interface, "no interface Else001"),
];

fn no_such_interface(_: &mut Server, game: &Game) {
    game.configure(&json!({ "frame": { "interface": "Else001", "index": 1 } }));
}

#[test]
fn without_frames_node_gets_a_thread_of_its_own() {
    for (interface, change, reason) in NO_FRAMES {
        let game = Game::new(&json!({}));
        game.script("a.js", &ticking("it"));
        let mut server = server(interface, "");
        change(&mut server, &game);
        server.yes(&game.load());
        let limit = Instant::now() + LONG;
        while !game.log().contains("it ticks") {
            assert!(Instant::now() < limit, "{reason}: {}", game.log());
            server.yes("frames 4 128");
        }
        let log = game.log();
        let told: Vec<&str> = log.lines().filter(|line| line.contains("E1005")).collect();
        assert!(told.len() == 1 && told[0].contains(reason), "{reason}: {log}");
        assert_eq!(server.yes("hooks")["hooks"], 0, "{reason}");
        server.yes("query");
        assert!(server.no("pause").contains("thread of its own"), "{reason}");
        server.yes("unload");
        assert!(!maps_a_guest(&server), "{reason}");
        leaves_as_without(server, "", reason);
    }
}

/// Metamods that take no plugin of ours: what they say of themselves, by the structure of which interface.
const OTHERS: [(u32, &str, &str); 5] = [
    (17, "2 14 16 28", "interface 14 to 16"),
    (17, "1 7 17 28", "its own: 1"),
    (18, "2 19 19 28", "interface 19 to 19"),
    (18, "3 18 18 28", "its own: 3"),
    // KHook's development, before it had an interface of its own.
    (18, "2 14 17 28", "interface 14 to 17"),
];

#[test]
fn another_metamod_is_refused_with_the_reason() {
    for (interface, versions, reason) in OTHERS {
        let game = Game::new(&json!({}));
        let mut server = server(interface, "");
        server.yes(&format!("versions {versions}"));
        let why = server.no(&game.load());
        assert!(why.starts_with("E1004") && why.contains(reason), "{versions}: {why}");
        assert_eq!(server.yes("hooks")["hooks"], 0, "{versions}");
        assert!(!maps_a_guest(&server), "{versions}");
        leaves_as_without(server, "", versions);
    }
}

/// What may be forbidden to V8 is forbidden to Node, too, and the game's scripts come to the same.
#[test]
fn the_games_v8_may_be_restricted() {
    const FLAGS: [&str; 4] =
        ["--jitless", "--disallow-code-generation-from-strings", "--single-threaded", "--stack-size=900"];
    let script = "
        const { Worker } = require('worker_threads');
        new Worker('require(\"worker_threads\").parentPort.postMessage(1)', { eval: true })
            .on('message', () => relink.host.print('a worker answers'));
        require('http').createServer(() => {}).listen(0, '127.0.0.1', function () {
            this.close(() => relink.host.print('it has listened'));
        });
        const { gzipSync, gunzipSync } = require('zlib');
        relink.host.print('unzipped', String(gunzipSync(gzipSync('text'))));
        import('fs').then(() => relink.host.print('WebAssembly is', typeof WebAssembly));";
    for interface in INTERFACES {
        for flags in FLAGS {
            let game = Game::new(&json!({}));
            game.script("a.js", script);
            let mut server = server(interface, flags);
            server.yes(&game.load());
            server.until("a worker answers");
            server.until("it has listened");
            server.until("unzipped text");
            let there = server.until("WebAssembly is ");
            assert_eq!(there.ends_with("undefined"), flags == "--jitless", "{interface} {flags}: {there}");
            server.yes("unload");
            no_hook_is_left(&mut server);
            leaves_as_without(server, flags, &format!("{interface} {flags}"));
        }
    }
}

/// The server leaves with the plugin loaded, in the middle of everything.
#[test]
fn a_game_may_leave_with_the_plugin_loaded() {
    for interface in INTERFACES {
        let game = Game::new(&json!({}));
        game.script("a.js", &ticking("it"));
        let mut server = server(interface, "");
        server.yes(&game.load());
        server.until("it ticks");
        leaves_as_without(server, "", &interface.to_string());
    }
}
