//! Process layer: ES modules with top-level await load by every way in, on guests whose require() knows ES modules (Node 20.19 and later) and on
//! those whose require() does not; and what plain Node refuses is refused once, with its own words.

#[path = "support/c_hosts.rs"]
mod c_hosts;
#[path = "support/plugins.rs"]
mod plugins;
mod support;

use c_hosts::{addon, checked, command, host, root};
use plugins::{Game, Server};
use relink::abi::adapters::UNITS;
use relink::abi::line;
use relink::kit::guest::{self, BuildOptions};
use relink::kit::{adapter, hosts, progress};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::parts;
use tempfile::TempDir;

/// Modules for fixtures/capi/modules.c.
fn modules() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for made in ["typed", "with space #1", "node_modules/only-import"] {
        std::fs::create_dir_all(folder.path().join(made)).expect("a folder");
    }
    let files = [
        (
            "waits.mjs",
            "await new Promise((done) => setTimeout(done, 5)); export const twice = (x) => 2 * x;\n",
        ),
        ("uses.mjs", "import { twice } from './waits.mjs'; export const four = (x) => twice(twice(x));\n"),
        ("dynamic.mjs", "const { twice } = await import('./waits.mjs'); export { twice };\n"),
        ("typed/package.json", r#"{ "type": "module" }"#),
        (
            "typed/index.js",
            "export const named = await Promise.resolve('typed'); export default () => named;\n",
        ),
        (
            "with space #1/here.mjs",
            "await 0; export const url = () => import.meta.url.split('/').slice(-2).join('/');\n",
        ),
        ("rejects.mjs", "await 0; throw Object.assign(new TypeError('not today'), { code: 'ERR_MINE' });\n"),
        ("nested-rejects.mjs", "import './rejects.mjs';\n"),
        ("never.mjs", "await new Promise(() => {});\n"),
        ("wrong.mjs", "await 0; export const = 1;\n"),
        ("runs.js", "globalThis.runs = (globalThis.runs ?? 0) + 1; require('./waits.mjs');\n"),
        ("count.js", "module.exports = () => globalThis.runs;\n"),
        ("common.js", "module.exports = { later: async () => (await import('./waits.mjs')).twice(4) };\n"),
        ("node_modules/only-import/package.json", r#"{ "exports": { "import": "./it.mjs" } }"#),
        ("node_modules/only-import/it.mjs", "await 0; export const it = () => 'by import';\n"),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

/// The guest and the official node of Node 20's line, and the adapters for a guest of Node 18 there.
fn line_20() -> (PathBuf, PathBuf) {
    let progress = progress::terminal();
    let [older, own] = [18, 20].map(|node| line::of_node(node).expect("a line").v8);
    for unit in UNITS.iter().filter(|unit| (unit.guest, unit.host) == (older, own)) {
        adapter::build(unit, progress.as_ref()).unwrap_or_else(|e| panic!("{} {e}", e.code()));
    }
    let guest = guest::build(&BuildOptions::line(20), progress.as_ref());
    let node = hosts::official_node(hosts::version_of(line::of_node(20).expect("a line")), progress.as_ref());
    (
        guest.unwrap_or_else(|e| panic!("{} {e}", e.code())).library,
        node.unwrap_or_else(|e| panic!("{} {e}", e.code())),
    )
}

/// Own thread and ticked: in a C host and in an official node.
#[test]
fn modules_load_by_the_c_interface() {
    let folder = TempDir::new().expect("a folder");
    let scripts = modules();
    let program = host("modules", folder.path());
    let addon = addon("modules", folder.path());
    let script = folder.path().join("host.js");
    let source = "const it = { exports: {} }; process.dlopen(it, process.argv[2]);\n\
                  console.log(it.exports.modules(...process.argv.slice(3)));\n";
    std::fs::write(&script, source).expect("written");
    let (guest_20, node_20) = line_20();
    for mode in ["own", "ticked"] {
        let inside = |node: &Path, guest: &Path| {
            let mut run = command(node);
            run.current_dir(scripts.path()).arg(&script).arg(&addon).arg(guest).arg(mode).arg(scripts.path());
            let output = checked(&mut run);
            assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n", "{mode} {output:?}");
        };
        let mut run = command(&program);
        run.current_dir(scripts.path()).arg(&parts().guest).arg(mode).arg(scripts.path());
        checked(&mut run);
        inside(&parts().node, &parts().guest);
        inside(&node_20, &guest_20);
        inside(&node_20, &parts().guest);
    }
}

/// As Node's main script: `relink run`, where one never settles, too.
#[test]
fn a_module_is_the_main_script() {
    let scripts = modules();
    let main = scripts.path().join("main.mjs");
    let text =
        "const { four } = await import('./uses.mjs'); console.log('four', four(10)); await 0; export {};\n";
    std::fs::write(&main, text).expect("written");
    let (guest_20, node_20) = line_20();
    for (guest, node) in [(&parts().guest, &parts().node), (&guest_20, &node_20)] {
        for (script, said, how, code) in [
            ("main.mjs", "four 40\n", "finished", 0),
            ("never.mjs", "", "finished", 13),
            ("rejects.mjs", "", "uncaught", 1),
        ] {
            let report = scripts.path().join("report.json");
            let mut run = command(Path::new(env!("CARGO_BIN_EXE_relink")));
            run.args(["run", "--library"])
                .arg(&parts().library)
                .arg("--guest")
                .arg(guest)
                .arg("--report")
                .arg(&report);
            run.arg("--script").arg(scripts.path().join(script)).arg("--").arg(node);
            let host = "const fs = require('fs'); const look = setInterval(() => {\n\
                if (fs.existsSync(process.argv[1])) { clearInterval(look); } }, 20);";
            let output = checked(run.arg("-e").arg(host).arg(&report));
            assert_eq!(String::from_utf8_lossy(&output.stdout), said, "{script}");
            let told: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&report).expect("a report")).expect("JSON");
            assert_eq!(
                (told["outcome"]["how"].as_str(), told["outcome"]["exit_code"].as_i64()),
                (Some(how), Some(code)),
                "{script}: {told}"
            );
            std::fs::remove_file(&report).expect("removed");
        }
    }
}

/// The plugin's server as an add-on: its main() in an official node, whose V8 is there already.
fn server_in_node(folder: &Path) -> PathBuf {
    let source = folder.join("server_in_node.cc");
    let text = "#define main server_main\n#include \"server.cc\"\n#undef main\n#include <node_api.h>\n\
        static napi_value go(napi_env, napi_callback_info) { server_main(); return nullptr; }\n\
        extern \"C\" napi_value napi_register_module_v1(napi_env env, napi_value exports) {\n\
          napi_value made; napi_create_function(env, \"go\", NAPI_AUTO_LENGTH, go, nullptr, &made);\n\
          napi_set_named_property(env, exports, \"go\", made); return exports; }\n";
    std::fs::write(&source, text).expect("written");
    let addon = folder.join("server.node");
    let mut compiler = Command::new("g++");
    compiler.args(["-std=c++17", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-pthread", "-isystem"]);
    compiler
        .arg(&parts().headers)
        .arg("-I")
        .arg(root().join("shim/include"))
        .arg("-I")
        .arg(root().join("fixtures/plugin"));
    checked(compiler.arg(&source).args(["-ldl", "-o"]).arg(&addon));
    addon
}

/// In the game's frames: loaded, loaded anew when it has changed, and what it is rejected with is in the log.
#[test]
fn a_plugins_script_waits_at_its_top() {
    let folder = TempDir::new().expect("a folder");
    let addon = server_in_node(folder.path());
    let (guest_20, node_20) = line_20();
    for guest in [&parts().guest, &guest_20] {
        let game = Game::new(&json!({ "guest": guest }));
        let script = |text: &str| {
            format!("import {{ setTimeout as sleep }} from 'timers/promises'; await sleep(5); relink.host.print('{text}');\n")
        };
        game.script("waits.mjs", &script("first here"));
        let mut server = if guest == &guest_20 {
            let go = "const it = { exports: {} }; process.dlopen(it, process.argv[1]); it.exports.go();";
            Server::start_by(Command::new(&node_20).args(["-e", go]).arg(&addon))
        } else {
            Server::with_v8()
        };
        server.yes(&game.load());
        server.until("first here");
        game.script("waits.mjs", &script("second here"));
        server.until("second here");
        game.script("waits.mjs", "await 0; throw new Error('third fails');\n");
        server.until("third fails");
        server.yes("unload");
        assert!(!game.log().contains("ERR_REQUIRE"), "{}", game.log());
    }
}
