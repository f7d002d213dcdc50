//! Process layer: `relink.game` in the plugin's scripts, by both of Metamod's plugin interfaces: frames, maps, console commands and
//! variables, commands for the server, and that nothing of it outlives its scripts.

#[path = "support/plugins.rs"]
mod plugins;
mod support;

use plugins::{Game, Server};
use serde_json::{json, Value};

/// The plugin interfaces.
const INTERFACES: [u32; 2] = [17, 18];

/// What relink.json tells of the server of fixtures/plugin.
fn facts() -> Value {
    json!({ "game": {
        "server_command": { "interface": "Source2EngineToServer001", "index": 45 },
        "console": { "interface": "VEngineCvar007", "register": 42, "count": 1080, "values": 1088 },
    } })
}

fn server(interface: u32) -> Server {
    let mut server = Server::with_v8();
    server.yes(&format!("metamod {interface}"));
    server
}

fn said(server: &Server, text: &str) -> usize {
    server.said.iter().filter(|line| line.ends_with(text)).count()
}

/// Leaves, with the sum of the game's scripts as without the plugin.
fn leave(server: Server) {
    let (frames, sum) = server.quit();
    let mut alone = Server::with_v8();
    alone.yes(&format!("frames {frames} 0"));
    assert_eq!(alone.quit().1, sum, "the game has gone another way");
}

#[test]
fn a_handler_is_called_once_in_each_frame() {
    let script = "
        const { onFrame, nextFrame } = relink.game;
        const seen = [];
        const off = onFrame((frame) => {
            seen.push(frame);
            if (seen.length < 100) return;
            off();
            const steps = seen.filter((frame, i) => i > 0 && frame !== seen[i - 1] + 1);
            relink.host.print('a hundred frames,', steps.length, 'gaps');
        });
        onFrame(() => { throw new Error('a handler fails'); })
        (async () => {
            const first = await nextFrame();
            const second = await nextFrame();
            relink.host.print('next frame after', second - first, 'frame', relink.game.frame === second);
        })();";
    // The second handler goes at once: a failing one must not end the others, nor Node.
    let script = script.replace("fails'); })\n", "fails'); });\n");
    for interface in INTERFACES {
        let game = Game::new(&json!({}));
        game.script("a.js", &script);
        let mut server = server(interface);
        server.yes(&game.load());
        server.until("next frame after 1 frame true");
        server.until("a hundred frames, 0 gaps");
        assert!(said(&server, "script \"a\" is loaded") == 1, "{:#?}", server.said);
        assert!(server.said.iter().any(|line| line.contains("relink.game: Error: a handler fails")));
        server.yes("query");
        server.yes("unload");
        leave(server);
    }
}

#[test]
fn maps_come_and_go() {
    let script = "
        const { game, host } = relink;
        host.print('the map is', String(game.map));
        game.onMap((name) => host.print('map', name, game.map));
        game.onMapEnd(() => host.print('map ends', String(game.map)));
        game.onUnload(async () => {
            await new Promise((resolve) => setTimeout(resolve, 5));
            host.print('unloads');
        });";
    for interface in INTERFACES {
        for run in ["frames", "thread"] {
            let game = Game::new(&json!({ "run": run }));
            game.script("a.js", script);
            let mut server = server(interface);
            server.yes(&game.load());
            let until = |server: &mut Server, text: &str| {
                let seen = |server: &Server| game.log().contains(text) || said(server, text) > 0;
                let limit = std::time::Instant::now() + plugins::LONG;
                while !seen(server) {
                    assert!(std::time::Instant::now() < limit, "{interface} {run} {text}: {}", game.log());
                    server.yes("frames 2 200");
                }
            };
            until(&mut server, "the map is undefined");
            server.yes("map de_relink");
            until(&mut server, "map de_relink de_relink");
            server.yes("mapend");
            // Metamod may tell it more than once.
            server.yes("mapend");
            until(&mut server, "map ends undefined");
            server.yes("map de_other");
            until(&mut server, "map de_other de_other");
            // New scripts find the map that is.
            game.script("a.js", &format!("{script}\n// changed"));
            until(&mut server, "the map is de_other");
            assert_eq!(game.log().matches("map ends").count(), 1, "{}", game.log());
            assert_eq!(game.log().matches("unloads").count(), 1, "{}", game.log());
            server.yes("unload");
            assert_eq!(game.log().matches("unloads").count(), 2, "{}", game.log());
            leave(server);
        }
    }
}

#[test]
fn commands_are_the_consoles_until_their_scripts_go() {
    let script = "
        const { game, host } = relink;
        game.command('Relink_Hello', (args, { name, player }) => host.print(name, 'says', args.join('+'), 'for', player), 'greets');
        const off = game.command('relink_once', () => { off(); host.print('once'); });
        game.command('relink_fails', async () => { throw new Error('a command fails'); });
        const speed = game.variable('relink_speed', 320, 'how fast');
        speed.onChange((now, before) => host.print('speed', before, 'to', now));
        for (const wrong of [() => game.command('relink_hello', () => {}), () => game.command('no name', () => {}),
            () => game.command('relink_none'), () => game.command('refused', () => {}), () => { speed.value = 'fast'; }]) {
            try { wrong(); host.print('taken'); } catch (error) { host.print('no:', error.message); }
        }
        game.command('relink_set', () => { speed.value += 1; });
        game.execute('relink_hello from the server');
        game.onFrame(() => {});";
    for interface in INTERFACES {
        let game = Game::new(&facts());
        game.script("a.js", script);
        let mut server = server(interface);
        server.no("type -1 relink_hello");
        server.yes(&game.load());
        server.until("relink_hello says from+the+server for -1");
        assert_eq!(server.yes("executed")["executed"], json!(["relink_hello from the server"]));
        for no in ["has the command", "is no name", "is a function", "the game refuses", "is a number"] {
            assert!(
                server.said.iter().any(|line| line.contains("no: ") && line.contains(no)),
                "{no}: {:#?}",
                server.said
            );
        }
        assert_eq!(said(&server, "taken"), 0);
        server.yes("type 3 relink_hello a b");
        server.until("relink_hello says a+b for 3");
        server.yes("type -1 relink_once");
        server.until("once");
        server.no("type -1 relink_once");
        server.yes("type -1 relink_fails");
        server.until("relink.game: Error: a command fails");
        server.yes("type -1 relink_speed");
        server.until("\"relink_speed\" = \"320\"");
        server.yes("type -1 relink_speed 400");
        server.until("speed 320 to 400");
        server.yes("type -1 relink_speed fast");
        server.until("\"relink_speed\" is a number");
        server.yes("type -1 relink_set");
        server.until("speed 400 to 401");

        // Other scripts: what they do not have, the console has no longer.
        game.script(
            "a.js",
            "relink.game.command('relink_hello', () => relink.host.print('another hello'), 'again');",
        );
        server.until("script \"a\" is loaded");
        let loaded = said(&server, "script \"a\" is loaded");
        server.until("has changed");
        while said(&server, "script \"a\" is loaded") == loaded {
            server.yes("frames 4 128");
        }
        server.no("type -1 relink_speed");
        server.yes("type -1 relink_hello");
        server.until("another hello");
        server.yes("unload");
        server.no("type -1 relink_hello");
        // And another load has them anew.
        while server.yes("hooks")["hooks"] != json!(0) {
            server.yes("frames 1 200");
        }
        server.said.clear();
        server.yes(&game.load());
        server.until("script \"a\" is loaded");
        server.yes("type -1 relink_hello");
        server.until("another hello");
        server.yes("unload");
        leave(server);
    }
}

#[test]
fn what_nobody_has_told_of_a_game_is_not_tried() {
    let script = "
        const { game, host } = relink;
        const tries = { execute: () => game.execute('x'), command: () => game.command('x', () => {}),
            onFrame: () => game.onFrame(() => {}), nextFrame: () => game.nextFrame() };
        for (const [name, attempt] of Object.entries(tries)) {
            try { attempt(); host.print(name, 'is there'); } catch (error) { host.print(name, 'fails:', error.message); }
        }
        host.print('done');";
    // No facts; an interface that is not there; no frames.
    let cases = [
        (
            json!({}),
            ["execute fails: relink.json tells nothing", "command fails: relink.json tells nothing"],
            true,
        ),
        (
            json!({ "game": { "server_command": { "interface": "Nothing001", "index": 45 } } }),
            ["execute fails: the game has no Nothing001", "command fails: "],
            true,
        ),
        (
            json!({ "run": "thread" }),
            ["execute fails: the game's own", "command fails: the game's own"],
            false,
        ),
    ];
    for (settings, expected, frames) in cases {
        let game = Game::new(&settings);
        game.script("a.js", script);
        let mut server = server(18);
        server.yes(&game.load());
        let limit = std::time::Instant::now() + plugins::LONG;
        while !game.log().contains("done") {
            assert!(std::time::Instant::now() < limit, "{}", game.log());
            server.yes("frames 2 200");
        }
        for text in expected {
            assert!(game.log().contains(text), "{text}: {}", game.log());
        }
        for name in ["onFrame", "nextFrame"] {
            let there = game.log().contains(&format!("{name} is there"));
            assert_eq!(there, frames, "{name}: {}", game.log());
        }
        server.yes("unload");
        leave(server);
    }
    let game = Game::new(&json!({ "game": { "speed": 1 } }));
    let mut server = server(18);
    assert!(server.no(&game.load()).contains("unknown field `speed`"));
    leave(server);
}

/// The types for editors have what scripts find, and nothing else.
#[test]
fn the_types_are_of_what_is_there() {
    let types = include_str!("../shim/js/relink.d.ts");
    let block = |name: &str| {
        let start = types.find(&format!("interface {name}")).expect("an interface");
        let body = &types[start..start + types[start..].find("\n}").expect("its end")];
        let member = |line: &str| {
            let line = line.trim().strip_prefix("readonly ").unwrap_or(line.trim());
            let end = line.find(|c: char| !c.is_alphanumeric()).filter(|end| *end > 0)?;
            Some(line[..end].to_owned())
        };
        let mut all: Vec<String> = body.lines().skip(1).filter_map(member).collect();
        all.sort();
        all.join(" ")
    };
    let game = Game::new(&facts());
    let script = "
        const names = (it) => Object.getOwnPropertyNames(it).sort().join(' ');
        relink.host.print('game has', names(relink.game) + '.');
        relink.host.print('variable has', names(relink.game.variable('relink_v', 1)) + '.');
        relink.host.print('relink has', names(relink) + '.');
        relink.game.command('relink_c', (_, call) => relink.host.print('call has', names(call) + '.'));";
    game.script("a.js", script);
    let mut server = server(18);
    server.yes(&game.load());
    server.until(&format!("game has {}.", block("RelinkGame")));
    server.until(&format!("variable has {}.", block("RelinkVariable")));
    server.until("relink has game host version.");
    server.yes("type -1 relink_c");
    server.until(&format!("call has {}.", block("RelinkCommandCall")));
    server.yes("unload");
    leave(server);
}
