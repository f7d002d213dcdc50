package relink;

import com.sun.jna.Pointer;
import com.sun.jna.StringArray;
import com.sun.jna.Structure;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** What is asked of a guest: {@code relink_options}. */
public final class Options {
    /** The structure itself. */
    @Structure.FieldOrder({"size", "mode", "guest", "script", "args", "nodeArgs", "env", "cwd", "disallow", "provider", "report",
        "maxHeapMib", "waitMs", "flags", "reserved", "isolate", "context", "expose", "scriptDeadlineMs", "stackKib"})
    public static final class Native extends Structure {
        public int size;
        public int mode;
        public Pointer guest;
        public Pointer script;
        public Pointer args;
        public Pointer nodeArgs;
        public Pointer env;
        public Pointer cwd;
        public Pointer disallow;
        public Pointer provider;
        public Pointer report;
        public int maxHeapMib;
        public int waitMs;
        public int flags;
        public int reserved;
        public Pointer isolate;
        public Pointer context;
        public Pointer expose;
        public int scriptDeadlineMs;
        public int stackKib;

        /** What the pointers lead to, alive as long as this. */
        private final List<Object> kept = new ArrayList<>();

        private Pointer text(String it) {
            return it == null ? null : list(List.of(it)).getPointer(0);
        }

        private Pointer list(List<String> texts) {
            if (texts == null) {
                return null;
            }
            StringArray made = new StringArray(texts.toArray(new String[0]), StandardCharsets.UTF_8.name());
            kept.add(made);
            return made;
        }
    }

    private final Native made = new Native();

    /** A guest, on a thread of its own; V8 is waited for ten seconds. */
    public Options(String guest) {
        made.guest = made.text(guest);
        wait(Duration.ofSeconds(10));
    }

    /** Node runs on the thread that creates the runtime, while that calls {@link Runtime#tick}. */
    public Options ticked() {
        made.mode = Library.RELINK_TICKED;
        return this;
    }

    /** Node's main script, and its arguments. */
    public Options script(String script, String... args) {
        made.script = made.text(script);
        made.args = made.list(List.of(args));
        return this;
    }

    /** Node's own options. */
    public Options nodeArgs(String... args) {
        made.nodeArgs = made.list(List.of(args));
        return this;
    }

    /** What process.env has besides a copy of the host's. */
    public Options env(Map<String, String> env) {
        List<String> pairs = new ArrayList<>();
        env.forEach((name, value) -> pairs.add(name + "=" + value));
        made.env = made.list(pairs);
        return this;
    }

    /** The guest's own working directory; not for one that is ticked. */
    public Options cwd(String cwd) {
        made.cwd = made.text(cwd);
        return this;
    }

    /** What scripts may not do: "child_process", "addons", "inspector". */
    public Options disallow(String... names) {
        made.disallow = made.list(List.of(names));
        return this;
    }

    /** A part of the path of the module whose V8 is meant. */
    public Options provider(String provider) {
        made.provider = made.text(provider);
        return this;
    }

    /** Node is stopped before its heap grows beyond this, in MiB. */
    public Options maxHeapMib(int mib) {
        made.maxHeapMib = mib;
        return this;
    }

    /** A script that keeps this thread for longer, in a tick or call of a ticked guest, is interrupted, and the guest ends. */
    public Options scriptDeadline(Duration time) {
        made.scriptDeadlineMs = Runtime.milliseconds(time);
        return this;
    }

    /** How long to wait for the host's V8 to be initialised. */
    public Options wait(Duration time) {
        made.waitMs = Runtime.milliseconds(time);
        return this;
    }

    /** The stack of Node's own thread, or what scripts may use of the one that ticks it, in KiB. */
    public Options stack(int kib) {
        made.stackKib = kib;
        return this;
    }

    /** Node stays when its script has nothing more to do. */
    public Options stay() {
        made.flags = Library.RELINK_STAY;
        return this;
    }

    Native read() {
        made.size = made.size();
        return made;
    }
}
