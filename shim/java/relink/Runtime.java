package relink;

import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;

/**
 * A guest: Node on this process's V8. Several run side by side (docs/EMBEDDING.md). It lives until it is closed, also when nothing refers to
 * it; when the JVM shuts down, it ends before.
 */
public final class Runtime implements AutoCloseable {
    /** For callers that name no time: a call ends when it ends, or with Node. */
    private static final int FOREVER_MS = -1;
    private static final int NOTHING = RelinkException.Answer.NOTHING.ordinal();
    private static final int STAYS = RelinkException.Answer.STAYS.ordinal();
    private static final int ENDED = RelinkException.Answer.ENDED.ordinal();
    /** How long the JVM's shutdown waits for Node, in milliseconds. */
    private static final int LAST_MS = 150;

    /** Those that were created and not closed: what scripts can call must live as long as they. */
    private static final Set<Runtime> LIVE = ConcurrentHashMap.newKeySet();

    static {
        try {
            java.lang.Runtime.getRuntime().addShutdownHook(new Thread(Runtime::leave, "relink-shutdown"));
        } catch (IllegalStateException already) {
            // The JVM is shutting down: the library ends what is made now.
        }
    }

    private final Library library = Library.INSTANCE;
    private volatile Pointer handle;

    private final AtomicLong last = new AtomicLong();
    private final Map<Long, CompletableFuture<String>> pending = new ConcurrentHashMap<>();
    private final Map<Long, Supplier<String>> work = new ConcurrentHashMap<>();
    /** Functions that scripts may be in stay alive as long as the guest. */
    private final Queue<Library.Function> functions = new ConcurrentLinkedQueue<>();
    private final Library.Done done = this::settled;
    private final Library.Posted posted = this::runPosted;

    /** Brings Node in. */
    public Runtime(Options options) {
        PointerByReference made = new PointerByReference();
        check(library.relink_create(options.read(), made));
        handle = made.getValue();
        LIVE.add(this);
    }

    /** The JVM shuts down: Node ends before it lets no thread in any more, and nothing of Java's is called from then on. */
    private static void leave() {
        LIVE.forEach(it -> it.library.relink_stop(it.handle, 0));
        long end = System.nanoTime() + LAST_MS * 1_000_000L;
        LIVE.forEach(it -> it.disconnect((int) Math.max(0, (end - System.nanoTime()) / 1_000_000)));
    }

    private void disconnect(int timeoutMs) {
        library.relink_disconnect(handle, timeoutMs);
        for (Long number : pending.keySet()) {
            CompletableFuture<String> future = pending.remove(number);
            if (future != null) {
                future.completeExceptionally(new RelinkException(ENDED, "Java ends"));
            }
        }
    }

    /** The version of librelink.so. */
    public static String version() {
        return Library.INSTANCE.relink_version();
    }

    /**
     * Says whether Node could be brought in, changing nothing.
     *
     * @return the report, JSON, whether it could or not: in {@code error} it says why not
     */
    public static String probe(Options options) {
        PointerByReference place = new PointerByReference();
        Library.INSTANCE.relink_probe(options.read(), place);
        return taken(place);
    }

    // --- scripts

    /** Loads a script, CommonJS or ES module; its exports can be called as "name.function" from then on. Says what they are (JSON). */
    public String runFile(String path, String name) {
        return run(Library.RELINK_FILE, path, name);
    }

    /** Loads the source of a CommonJS module. */
    public String runString(String source, String name) {
        return run(Library.RELINK_STRING, source, name);
    }

    /** Loads a package or built-in module. */
    public String require(String what, String name) {
        return run(Library.RELINK_PACKAGE, what, name);
    }

    private String run(int kind, String what, String name) {
        PointerByReference place = new PointerByReference();
        return text(library.relink_run(handle, kind, what, name, FOREVER_MS, place), place);
    }

    // --- calls

    /** Calls "name.function" of a script, or of the global object, and waits for what it returns or its promise becomes. */
    public String call(String function, String args) {
        return call(function, args, null);
    }

    /** The same, waiting no longer than {@code limit}. */
    public String call(String function, String args, Duration limit) {
        PointerByReference place = new PointerByReference();
        return text(library.relink_call(handle, function, args, milliseconds(limit), place), place);
    }

    /** The same without waiting. */
    public CompletableFuture<String> callAsync(String function, String args) {
        CompletableFuture<String> future = new CompletableFuture<>();
        long number = last.incrementAndGet();
        pending.put(number, future);
        unless(library.relink_call_async(handle, function, args, done, new Pointer(number)), number);
        return future;
    }

    /** Has something done on Node's thread. */
    public CompletableFuture<String> post(Supplier<String> it) {
        CompletableFuture<String> future = new CompletableFuture<>();
        long number = last.incrementAndGet();
        pending.put(number, future);
        work.put(number, it);
        unless(library.relink_post(handle, posted, new Pointer(number)), number);
        return future;
    }

    private void unless(int answer, long number) {
        if (answer != 0) {
            pending.remove(number);
            work.remove(number);
            check(answer);
        }
    }

    private void settled(Pointer context, int answer, String result) {
        CompletableFuture<String> future = pending.remove(Pointer.nativeValue(context));
        if (future == null) {
            return;
        }
        if (answer == 0) {
            future.complete(result);
        } else {
            future.completeExceptionally(new RelinkException(answer, result));
        }
    }

    private void runPosted(Pointer context, int run) {
        long number = Pointer.nativeValue(context);
        CompletableFuture<String> future = pending.remove(number);
        Supplier<String> it = work.remove(number);
        if (future == null) {
            return;
        }
        if (run == 0) {
            future.completeExceptionally(new RelinkException(ENDED, "Node has ended"));
            return;
        }
        try {
            future.complete(it.get());
        } catch (Throwable thrown) { // whoever waits for it gets it
            future.completeExceptionally(thrown);
        }
    }

    /** Lets scripts call {@code relink.host.NAME(...)}; null takes it away again. */
    public void register(String name, HostFunction function) {
        Library.Function called = function == null ? null : (context, args, reply) -> answer(function, args, reply);
        check(library.relink_register(handle, name, called, null));
        if (called != null) {
            functions.add(called);
        }
    }

    /** Nothing is thrown through C: it is thrown in the script instead. */
    private int answer(HostFunction function, String args, Pointer reply) {
        try {
            String result = function.call(args);
            library.relink_reply_set(reply, result == null ? "null" : result);
            return 0;
        } catch (Throwable thrown) {
            library.relink_reply_set(reply, thrown.toString());
            return 1;
        }
    }

    // --- life

    /** Does what is due in a ticked guest: false when Node has ended. */
    public boolean tick(Duration budget) {
        int answer = library.relink_tick(handle, budget.toNanos() / 1000);
        if (answer == ENDED) {
            return false;
        }
        check(answer);
        return true;
    }

    /** The report so far, JSON. */
    public String report() {
        PointerByReference place = new PointerByReference();
        return text(library.relink_report(handle, place), place);
    }

    /** Waits until Node has ended by itself. */
    public void join(Duration limit) {
        check(library.relink_join(handle, milliseconds(limit)));
    }

    /** Ends Node, whatever it is doing. */
    public void stop(Duration limit) {
        check(library.relink_stop(handle, milliseconds(limit)));
    }

    /** Takes the guest out of the process; nothing if it is out already. */
    @Override
    public void close() {
        Pointer it = handle;
        if (it == null) {
            return;
        }
        int answer = library.relink_destroy(it, 10_000);
        if (answer == 0 || answer == STAYS || answer == NOTHING) {
            handle = null;
            // Nothing of the guest's can call Java any more.
            LIVE.remove(this);
            functions.clear();
        }
        check(answer);
    }

    static int milliseconds(Duration time) {
        return time == null ? FOREVER_MS : (int) Math.max(0, Math.min(Integer.MAX_VALUE, time.toMillis()));
    }

    /** Right after the call, on the same thread. */
    private void check(int answer) {
        if (answer != 0) {
            throw new RelinkException(answer, library.relink_last_error());
        }
    }

    private String text(int answer, PointerByReference place) {
        String why = answer == 0 ? null : library.relink_last_error();
        String result = taken(place);
        if (answer != 0) {
            throw new RelinkException(answer, why);
        }
        return result;
    }

    /** Copies a text and gives it back to the library. */
    private static String taken(PointerByReference place) {
        Pointer text = place.getValue();
        if (text == null) {
            return null;
        }
        try {
            return text.getString(0, StandardCharsets.UTF_8.name());
        } finally {
            Library.INSTANCE.relink_free(text);
        }
    }
}
