//! Process layer: librelink.so as a plugin of Metamod:Source, in a game server that loads plugins as Metamod does and has a real V8.

#[path = "support/plugins.rs"]
mod plugins;
mod support;

use plugins::{Game, Server, LONG};
use relink::config;
use serde_json::{json, Value};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use support::parts;

/// Serves HTTP on a port that it prints with its name, and says "tick" again and again.
fn serving(name: &str) -> String {
    format!(
        "const http = require('http');
        const server = http.createServer((q, r) => r.end('{name} at ' + q.url));
        server.listen(0, '127.0.0.1', () => relink.host.print('{name} serves', server.address().port, 'here'));
        setInterval(() => relink.host.print('{name} ticks'), 3);
        exports.unload = () => relink.host.print('{name} goes');"
    )
}

fn port(line: &str) -> u16 {
    let number = line.split("serves ").nth(1).and_then(|rest| rest.split(' ').next());
    number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no port: {line}"))
}

/// Asks a script's server, which answers in frames.
fn get(server: &mut Server, port: u16, path: &'static str) -> String {
    let asking = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        stream.set_read_timeout(Some(LONG)).expect("set");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sent");
        let mut all = String::new();
        stream.read_to_string(&mut all).expect("answered");
        all
    });
    while !asking.is_finished() {
        server.yes("frames 4 128");
    }
    asking.join().expect("answered")
}

/// Whether that script still answers there; somebody else may have got the port.
fn serves(port: u16, name: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut all = String::new();
    let limit = stream.set_read_timeout(Some(std::time::Duration::from_secs(5)));
    let asked = limit.and_then(|()| write!(stream, "GET / HTTP/1.0\r\n\r\n"));
    let read = asked.and_then(|()| stream.read_to_string(&mut all));
    read.is_ok() && all.contains(name)
}

fn ticks(server: &Server, name: &str) -> usize {
    server.said.iter().filter(|line| line.ends_with(&format!("{name} ticks"))).count()
}

fn maps_a_guest(server: &Server) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid())).expect("maps");
    maps.contains("libnode-relink")
}

/// What a game without the plugin computes in so many frames.
fn checksum_without(frames: u64) -> u64 {
    let mut server = Server::with_v8();
    server.yes(&format!("frames {frames} 0"));
    server.quit().1
}

#[test]
fn a_plugin_is_loaded_and_paused_and_unloaded() {
    let game = Game::new(&json!({ "budget_us": 2000 }));
    game.script("first.js", &serving("first"));
    let mut server = Server::start();
    server.yes(&format!("engine {}", plugins::server().1.display()));
    server.yes(&game.load());
    let about = server.yes("about");
    assert_eq!(about["texts"][1], "Relink");
    assert_eq!(about["texts"][5], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["texts"][7], "RELINK");
    assert_eq!(server.no("query"), "E1006 waiting for the V8 of the game to be initialised");
    // Frames without a game begin no checksum.
    server.yes("v8");
    let served = server.until("first serves");
    assert!(server.until("console: [RELINK] script \"first\" is loaded").starts_with("console"));
    server.yes("query");
    assert!(maps_a_guest(&server));
    assert!(get(&mut server, port(&served), "/there").ends_with("first at /there"));
    assert!(server.no(&game.load()).contains("E1006 the plugin is loaded already"), "twice");

    server.yes("pause");
    let before = ticks(&server, "first");
    assert!(server.no("query").contains("paused"));
    server.yes("frames 64 128");
    assert_eq!(ticks(&server, "first"), before, "a paused guest runs");
    server.yes("unpause");
    server.said.clear();
    server.until("first ticks");

    let unloaded = server.yes("unload");
    assert_eq!(unloaded["hooks"], 0);
    assert!(server.said.iter().any(|line| line.ends_with("first goes")), "{:#?}", server.said);
    assert!(!maps_a_guest(&server), "the guest is still there");
    assert!(!serves(port(&served), "first"), "its server is still there");
    let last = server.yes("frames 8 0");
    assert_eq!(last["before"], last["after"]);
    let log = game.log();
    for said in ["Relink ", "Node is there", "first serves", "paused", "first goes", "unloaded"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    let (frames, checksum) = server.quit();
    assert_eq!(checksum, checksum_without(frames), "the game has gone another way");
}

/// The game itself uses the C interface of the library that the plugin is.
#[test]
fn a_runtime_of_the_games_own_is_beside_the_plugins() {
    let game = Game::new(&json!({}));
    game.script("first.js", &serving("first"));
    let mut server = Server::with_v8();
    server.yes(&game.load());
    server.until("first serves");
    for _ in 0..2 {
        server.yes(&format!("beside {}", parts().guest.display()));
        server.said.clear();
        server.until("first ticks");
    }
    server.yes("unload");
    assert!(!maps_a_guest(&server), "the guest is still there");
    server.quit();
}

/// A game that has its V8, linked, in the library with everything else (fixtures/plugin/engine.cc).
#[test]
fn a_game_in_one_library_takes_the_plugin() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = folder.path().join("libengine.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plugin/engine.cc");
    let v8 = &parts().libv8;
    let mut compiler = Command::new("g++");
    compiler.args(["-std=c++17", "-O1", "-shared", "-fPIC", "-Wno-unused-function", "-isystem"]);
    compiler.arg(&parts().headers).arg(source).arg(v8).arg("-o").arg(&engine);
    compiler.arg(format!("-Wl,--disable-new-dtags,-rpath,{}", v8.parent().expect("a folder").display()));
    let compiled = compiler.output().expect("g++ runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let game = Game::new(&json!({}));
    game.script("first.js", &serving("first"));
    let run = |load: Option<String>| {
        let mut server = Server::start();
        server.yes(&format!("engine {}", engine.display()));
        server.yes("v8");
        if let Some(load) = load {
            server.yes(&load);
            server.until("first ticks");
            server.yes("unload");
            assert!(!maps_a_guest(&server), "the guest is still there");
        } else {
            server.yes("frames 16 0");
        }
        server.quit()
    };
    let (frames, checksum) = run(Some(game.load()));
    assert!(frames > 0 && checksum != 0);
    assert_ne!(run(None).1, 0);
}

#[test]
fn an_old_metamod_asks_for_create_interface() {
    let game = Game::new(&json!({}));
    game.script("first.js", "relink.host.print('I am', process.version)");
    let mut server = Server::with_v8();
    server.yes(&format!("plain {}", game.library().display()));
    server.until("I am v18");
    server.yes("unload");
    server.quit();
}

#[test]
fn scripts_are_loaded_anew_when_they_change() {
    let game = Game::new(&json!({}));
    game.script("a.js", &serving("old"));
    game.script("_hidden.js", "relink.host.print('hidden runs')");
    std::fs::create_dir(game.relink().join("scripts/b")).expect("made");
    game.script("b/part.js", "exports.what = 'one'");
    game.script("b/index.mjs", "import part from './part.js'; relink.host.print('b has ' + part.what);");
    let mut server = Server::with_v8();
    server.yes(&game.load());
    let old = port(&server.until("old serves"));
    server.until("b has one");

    // Nothing of the old script is left, neither its server nor its timers.
    game.script("a.js", &serving("new"));
    let new = port(&server.until("new serves"));
    assert!(!serves(old, "old"), "the old server is still there");
    assert!(server.said.iter().any(|line| line.ends_with("old goes")), "{:#?}", server.said);
    let before = ticks(&server, "old");
    server.until("new ticks");
    server.yes("frames 32 128");
    assert_eq!(ticks(&server, "old"), before, "an old timer ticks");
    assert!(get(&mut server, new, "/x").ends_with("new at /x"));

    // A module of a script, a broken script, a new one, one that is gone.
    game.script("b/part.js", "exports.what = 'two'");
    server.until("b has two");
    game.script("c.js", "this is no JavaScript");
    assert!(server.until("script \"c\": ").contains("SyntaxError"));
    game.script("c.js", "relink.host.print('mended')");
    std::fs::remove_file(game.relink().join("scripts/a.js")).expect("removed");
    server.until("mended");
    server.said.clear();
    server.yes("frames 32 128");
    assert_eq!(ticks(&server, "new"), 0, "a removed script runs");
    assert!(!game.log().contains("hidden runs"));
    server.yes("unload");
    server.quit();
}

/// A refusal: what is done to a server and a game, the code, and a part of the reason.
type Refusal = (&'static str, fn(&mut Server, &Game), &'static str);

const REFUSALS: [Refusal; 11] = [
    (
        "E1001",
        |_, game| std::fs::remove_file(game.relink().join("relink.json")).expect("removed"),
        "relink.json",
    ),
    ("E1002", |_, game| game.configure_text("{"), "EOF"),
    ("E1002", |_, game| game.configure(&json!({ "budget": 1 })), "unknown field `budget`"),
    ("E1002", |_, game| game.configure(&json!({ "disallow": ["walking"] })), "walking"),
    ("E1002", |_, game| game.configure_text("{}"), "no libnode"),
    ("E1003", |_, game| game.configure(&json!({ "enabled": false })), "\"enabled\": false"),
    ("E1004", |server, _| drop(server.yes("versions 2 18 18 28")), "interface 18 to 18"),
    ("E1004", |server, _| drop(server.yes("versions 2 14 16 28")), "interface 14 to 16"),
    ("E1004", |server, _| drop(server.yes("versions 1 7 17 28")), "its own: 1"),
    ("E0301", |_, game| game.configure(&json!({ "guest": "nowhere.so" })), "nowhere.so"),
    ("E0301", |_, game| game.configure(&json!({ "guest": "a/b.so", "run": "thread" })), "b.so"),
];

#[test]
fn a_plugin_that_does_not_fit_says_why() {
    let mut server = Server::with_v8();
    for (code, change, reason) in REFUSALS {
        let game = Game::new(&json!({}));
        change(&mut server, &game);
        let why = server.no(&game.load());
        assert!(why.starts_with(code) && why.contains(reason), "{code} {reason}: {why}");
        let frames = server.yes("frames 3 0");
        assert_eq!((&frames["before"], &frames["after"]), (&json!(0), &json!(0)), "{code}: hooked");
        assert!(!maps_a_guest(&server), "{code}");
        server.yes("versions 2 14 17 28");
        server.yes("sourcehook 5");
    }
    // Nothing of all that is left in the way of one that fits.
    let game = Game::new(&json!({}));
    game.script("a.js", "relink.host.print('fits')");
    server.yes(&game.load());
    server.until("fits");
    server.yes("unload");
    let (frames, checksum) = server.quit();
    assert_eq!(checksum, checksum_without(frames));
}

#[test]
fn a_process_without_a_v8_is_refused_or_waited_for() {
    let game = Game::new(&json!({}));
    game.script("a.js", "relink.host.print('late but here')");
    let mut server = Server::start();
    let why = server.no(&game.load());
    assert!(why.starts_with("E0201"), "{why}");
    game.configure(&json!({ "late_v8": true }));
    server.yes(&game.load());
    server.yes("frames 8 0");
    assert!(server.no("query").contains("waiting"));
    // Unloaded while it waits, and loaded again.
    assert_eq!(server.yes("unload")["hooks"], 0);
    server.yes(&game.load());
    server.yes(&format!("engine {}", plugins::server().1.display()));
    server.yes("frames 8 0");
    server.yes("v8");
    server.until("late but here");
    server.yes("query");
    server.yes("unload");
    server.quit();
}

/// Waits for the log, with no frame of the game's.
fn until_logged(game: &Game, text: &str) {
    let limit = Instant::now() + LONG;
    while !game.log().contains(text) {
        assert!(Instant::now() < limit, "{text} never came: {}", game.log());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn node_has_a_thread_of_its_own_if_asked_to() {
    let game = Game::new(&json!({ "run": "thread" }));
    let told = "relink.host.print('folder', process.cwd() === require('path').dirname(__dirname));";
    game.script("a.js", &format!("{told}{}", serving("first")));
    let mut server = Server::with_v8();
    // An engine without a known frame, a Metamod without SourceHook.
    server.yes("versions 2 14 17 29");
    server.yes("sourcehook 0");
    server.yes(&game.load());
    until_logged(&game, "first ticks");
    assert!(game.log().contains("folder true"), "{}", game.log());
    server.yes("query");
    // The console is the game's thread's.
    assert!(server.said.iter().any(|line| line.contains("first ticks")), "{:#?}", server.said);
    assert!(server.no("pause").contains("thread of its own"));
    game.script("a.js", &serving("second"));
    until_logged(&game, "second ticks");
    server.yes("frames 8 0");
    server.yes("unload");
    assert!(!maps_a_guest(&server));
    assert!(game.log().contains("second goes"), "{}", game.log());
    let (frames, checksum) = server.quit();
    assert_eq!(checksum, checksum_without(frames));
}

#[test]
fn a_game_outlives_what_its_scripts_do() {
    let game = Game::new(&json!({ "hang_ms": 5000, "disallow": ["child_process", "addons"] }));
    let mut server = Server::with_v8();
    game.script("a.js", "relink.host.print('one is here'); setTimeout(() => process.exit(3), 1)");
    server.yes(&game.load());
    assert!(server.until("Node has ended (exit, 3").contains("comes back"));
    assert!(server.no("query").contains("Node has ended (exit, 3"));
    game.script("a.js", "setTimeout(() => { throw new Error('two is gone'); }, 1)");
    server.until("console: [RELINK] Error: two is gone");
    server.until("Node has ended (uncaught, 1");
    game.script("a.js", "setTimeout(() => { for (;;); }, 1)");
    server.until("a script has kept a frame for");
    server.until("Node has ended (stopped, 1");
    let tries =
        "try { require('child_process').execSync('true'); } catch (e) { relink.host.print('child', e.code); }
        try { process.dlopen({ exports: {} }, 'any.node'); } catch (e) { relink.host.print('addon', e.message); }";
    game.script("a.js", tries);
    server.until("child EPERM");
    server.until("addon add-ons are not allowed");
    game.script("a.js", "setTimeout(() => process.abort(), 1)");
    server.until("none can come again");
    server.yes("frames 16 0");
    server.yes("unload");
    let (frames, checksum) = server.quit();
    assert_eq!(checksum, checksum_without(frames), "the game has gone another way");
}

#[test]
fn a_game_may_leave_with_the_plugin_loaded() {
    for run in ["frames", "thread"] {
        let game = Game::new(&json!({ "run": run }));
        game.script("a.js", &serving("first"));
        let mut server = Server::with_v8();
        server.yes(&game.load());
        until_logged_in_frames(&mut server, &game, "first ticks");
        let (frames, checksum) = server.quit();
        assert_eq!(checksum, checksum_without(frames), "{run}");
    }
}

fn until_logged_in_frames(server: &mut Server, game: &Game, text: &str) {
    let limit = Instant::now() + LONG;
    while !game.log().contains(text) {
        assert!(Instant::now() < limit, "{text} never came: {}", game.log());
        server.yes("frames 4 128");
    }
}

/// Threads and open descriptors of the server.
fn has(server: &Server) -> [usize; 2] {
    ["task", "fd"].map(|what| {
        let folder = format!("/proc/{}/{what}", server.pid());
        std::fs::read_dir(folder).expect("readable").count()
    })
}

#[test]
fn a_plugin_comes_and_goes_and_leaves_nothing() {
    let game = Game::new(&json!({}));
    game.script("a.js", &serving("it"));
    let mut server = Server::with_v8();
    let mut first = None;
    for _ in 0..10 {
        server.said.clear();
        server.yes(&game.load());
        server.until("it ticks");
        server.yes("unload");
        // The system forgets a thread a moment after it has ended.
        let most: [usize; 2] = *first.get_or_insert_with(|| has(&server));
        let limit = Instant::now() + LONG;
        while has(&server).iter().zip(most).any(|(now, most)| *now > most) {
            assert!(Instant::now() < limit, "{most:?} {:?}", has(&server));
        }
    }
    server.quit();
}

/// Preloaded into a game, the library's `CreateInterface` must not stand in the way of the modules' own.
#[test]
fn a_preloaded_library_does_not_answer_for_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let module = write(
        "module.cc",
        "#include <cstring>\nstatic int it = 7;\nextern \"C\" void* CreateInterface(const char* name, int* code) {\n\
         if (code) *code = std::strcmp(name, \"It001\") != 0;\n  return std::strcmp(name, \"It001\") == 0 ? &it : nullptr;\n}\n\
         extern \"C\" int ask(const char* name) {\n  int code = 9; void* found = CreateInterface(name, &code);\n\
         return found == &it ? code : found ? -1 : 10 + code;\n}\n",
    );
    let main = write(
        "main.cc",
        "#include <dlfcn.h>\n#include <cstdio>\nint main(int, char** argv) {\n  void* module = dlopen(argv[1], RTLD_NOW);\n\
         auto ask = reinterpret_cast<int (*)(const char*)>(dlsym(module, \"ask\"));\n\
         std::printf(\"%d %d\\n\", ask(\"It001\"), ask(\"Other001\"));\n}\n",
    );
    let build = |arguments: &[&str], source: &Path, name: &str| {
        let output = folder.path().join(name);
        let mut command = Command::new("g++");
        let done = command
            .args(arguments)
            .arg(source)
            .arg("-o")
            .arg(&output)
            .arg("-ldl")
            .output()
            .expect("g++ runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        output
    };
    let module = build(&["-shared", "-fPIC"], &module, "libmodule.so");
    let main = build(&[], &main, "main");
    for preloaded in [false, true] {
        let mut command = Command::new(&main);
        for name in config::VARIABLES {
            command.env_remove(name);
        }
        if preloaded {
            command.env("LD_PRELOAD", &parts().library);
        }
        let output = command.arg(&module).output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0 11\n", "preloaded: {preloaded}");
    }
}

/// `relink plugin install` lays out a folder that works as it is.
#[test]
fn an_installed_plugin_works() {
    let game = tempfile::tempdir().expect("a folder");
    let mut install = Command::new(&parts().relink);
    install
        .args(["plugin", "install", "--json", "--guest"])
        .arg(&parts().guest)
        .arg("--library")
        .arg(&parts().library);
    let run = |install: &mut Command| {
        let output = install.output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    install.arg(game.path());
    let told = run(&mut install);
    let library = told["library"].as_str().expect("a path").to_owned();
    let vdf = std::fs::read_to_string(game.path().join("addons/metamod/relink.vdf")).expect("the file");
    assert!(vdf.contains("\"addons/relink/bin/linuxsteamrt64/relink\""), "{vdf}");
    let types = game.path().join("addons/relink/relink.d.ts");
    assert!(std::fs::read_to_string(types).expect("the file").contains("interface RelinkGame"));
    let script = game.path().join("addons/relink/scripts/mine.js");
    std::fs::write(script, "relink.host.print('mine runs on', process.version)").expect("written");
    // Installed again: what the user has changed stays.
    let configuration = game.path().join("addons/relink/relink.json");
    std::fs::write(&configuration, "{ \"budget_us\": 3000 }").expect("written");
    run(&mut install);
    assert_eq!(std::fs::read_to_string(&configuration).expect("the file"), "{ \"budget_us\": 3000 }");
    let mut server = Server::with_v8();
    server.yes(&format!("load {library}"));
    server.until("mine runs on v18");
    server.yes("unload");
    server.quit();
}
