//! Process layer: which changes of files start the plugin's Node anew, and which do not.

#[path = "support/plugins.rs"]
mod plugins;
mod support;

use plugins::{Game, Server};
use serde_json::json;

/// Runs frames for some looks at the scripts (100 ms each).
fn some_looks(server: &mut Server) {
    for _ in 0..30 {
        server.yes("frames 4 128");
    }
}

/// What was said of changes.
fn changes(server: &Server) -> Vec<String> {
    let of = |line: &String| {
        Some(line.split_once("\" has changed: Node is started anew")?.0.rsplit('"').next()?.to_owned())
    };
    server.said.iter().filter_map(of).collect()
}

/// Edits a file, waits until the script says `then`, and gives what the log says has changed since.
fn edit(server: &mut Server, game: &Game, file: &str, text: &str, then: &str) -> Vec<String> {
    server.said.clear();
    game.script(file, text);
    server.until(then);
    changes(server)
}

const ENTRY: &str = "
const say = relink.host.print;
say('entry:', require('./_lib/shared.js'), process.send === undefined, Object.keys(process.env).some((n) => n.startsWith('WATCH')));
setTimeout(() => import('./_lib/late.mjs').then((it) => say('late:', it.default), (e) => say('late fails:', e.name)), 50);
setTimeout(() => { try { say('missing:', require('./_lib/missing')); } catch (e) { say('missing fails:', e.code); } }, 100);
";

#[test]
fn what_was_loaded_counts_however_and_whenever() {
    for settings in [json!({}), json!({ "env": { "A": "b" } })] {
        let game = Game::new(&settings);
        std::fs::create_dir(game.relink().join("scripts/_lib")).expect("made");
        game.script("_lib/shared.js", "module.exports = 1;");
        game.script("_lib/deep.mjs", "export default 1;");
        game.script("_lib/late.mjs", "import deep from './deep.mjs'; export default deep;");
        game.script("_lib/unused.js", "throw new Error('nobody loads this');");
        game.script("entry.js", ENTRY);
        let mut server = Server::with_v8();
        server.yes(&game.load());
        server.until("entry: 1 true false");
        server.until("late: 1");
        server.until("missing fails: MODULE_NOT_FOUND");
        let mut edits = |file: &str, text: &str, then: &str| {
            let seen = edit(&mut server, &game, file, text, then);
            assert_eq!(seen, [file], "{settings}");
            server.until("late");
            server.until("missing");
        };
        edits("_lib/shared.js", "module.exports = 2;", "entry: 2");
        edits("_lib/deep.mjs", "export default 3;", "late: 3");
        // What fails is looked after, too.
        edits("_lib/deep.mjs", "export default", "late fails: SyntaxError");
        edits("_lib/deep.mjs", "export default 4;", "late: 4");
        edits("_lib/missing.js", "module.exports = 5;", "missing: 5");
        edits("entry.js", &format!("{ENTRY} say('edited');"), "edited");
        // And nothing else.
        server.said.clear();
        game.script("_lib/unused.js", "changed");
        game.script("notes.txt", "changed");
        some_looks(&mut server);
        assert_eq!(changes(&server), [""; 0], "{settings}");
        server.yes("unload");
        server.quit();
    }
}

const WRITER: &str = "
const fs = require('fs');
const at = (name) => `${__dirname}/${name}`;
const state = require('./state.json');
relink.host.print('writer runs', state.count);
fs.writeFileSync(at('state.json'), JSON.stringify({ count: state.count + 1 }));
fs.writeFileSync(at('generated.js'), 'relink.host.print(\"generated\")');
const log = fs.createWriteStream(at('grows.log'));
let n = 0;
setInterval(() => {
  log.write('line ' + n++);
  fs.writeFile(at('~state'), JSON.stringify({ count: n }), () => fs.rename(at('~state'), at('state.json'), () => {}));
}, 20);
setTimeout(() => require('child_process').exec('echo x > ' + at('of-a-child.txt')), 50);
exports.unload = () => fs.appendFileSync(at('unloaded.js'), '// ' + Date.now());
";

#[test]
fn what_scripts_write_themselves_is_no_change() {
    let game = Game::new(&json!({}));
    game.script("state.json", "{\"count\": 0}");
    game.script("writer.js", WRITER);
    let mut server = Server::with_v8();
    server.yes(&game.load());
    server.until("writer runs 0");
    some_looks(&mut server);
    some_looks(&mut server);
    assert_eq!(changes(&server), [""; 0]);
    // An edit is seen beside all that, and what unload() writes does not begin it again.
    assert_eq!(
        edit(&mut server, &game, "writer.js", &format!("{WRITER} relink.host.print('edited');"), "edited"),
        ["writer.js"]
    );
    some_looks(&mut server);
    assert_eq!(changes(&server), ["writer.js"]);
    server.yes("unload");
    server.quit();
}

#[test]
fn the_configuration_names_more() {
    let game = Game::new(&json!({ "watch": ["*.json", "maps/**/*.txt"] }));
    std::fs::create_dir_all(game.relink().join("scripts/maps/deep")).expect("made");
    game.script(
        "reads.js",
        "relink.host.print('read', require('fs').readFileSync(__dirname + '/data.json', 'utf8'))",
    );
    game.script("data.json", "1");
    let mut server = Server::with_v8();
    server.yes(&game.load());
    server.until("read 1");
    assert_eq!(edit(&mut server, &game, "data.json", "2", "read 2"), ["data.json"]);
    assert_eq!(edit(&mut server, &game, "maps/deep/one.txt", "new", "read 2"), ["maps/deep/one.txt"]);
    server.said.clear();
    game.script("maps/one.md", "new");
    some_looks(&mut server);
    assert_eq!(changes(&server), [""; 0]);
    std::fs::remove_file(game.relink().join("scripts/maps/deep/one.txt")).expect("removed");
    server.until("one.txt\" has changed");
    server.yes("unload");
    server.quit();
    let wrong = Game::new(&json!({ "watch": ["[a"] }));
    let mut server = Server::with_v8();
    let why = server.no(&wrong.load());
    assert!(why.contains("watch") && why.contains("[a"), "{why}");
    server.quit();
}
