package relink;

import com.sun.jna.Callback;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.util.Map;

/** The functions and constants of relink.h: all of them, {@link RelinkException.Answer} aside. The tests of Relink compare both. */
interface Library extends com.sun.jna.Library {
    /** librelink.so: by the system property or environment variable that names it, or where ld.so finds it. */
    Library INSTANCE = Native.load(name(), Library.class, Map.of(OPTION_STRING_ENCODING, "UTF-8"));

    int RELINK_OWN_THREAD = 0;
    int RELINK_TICKED = 1;
    int RELINK_SHARED = 2;
    int RELINK_STAY = 1;
    int RELINK_FILE = 0;
    int RELINK_STRING = 1;
    int RELINK_PACKAGE = 2;

    private static String name() {
        String named = System.getProperty("relink.library", System.getenv("RELINK_LIBRARY"));
        return named == null || named.isEmpty() ? "relink" : named;
    }

    /** {@code relink_done}. */
    interface Done extends Callback {
        void done(Pointer context, int answer, String result);
    }

    /** {@code relink_function}. */
    interface Function extends Callback {
        int call(Pointer context, String args, Pointer reply);
    }

    /** {@code relink_callback}. */
    interface Posted extends Callback {
        void run(Pointer context, int run);
    }

    String relink_version();

    String relink_last_error();

    void relink_free(Pointer text);

    int relink_probe(Options.Native options, PointerByReference result);

    int relink_create(Options.Native options, PointerByReference runtime);

    int relink_run(Pointer runtime, int kind, String what, String name, int timeoutMs, PointerByReference result);

    int relink_call(Pointer runtime, String function, String args, int timeoutMs, PointerByReference result);

    int relink_call_async(Pointer runtime, String function, String args, Done done, Pointer context);

    void relink_reply_set(Pointer reply, String text);

    int relink_register(Pointer runtime, String name, Function function, Pointer context);

    int relink_post(Pointer runtime, Posted callback, Pointer context);

    int relink_tick(Pointer runtime, long budgetUs);

    int relink_join(Pointer runtime, int timeoutMs);

    int relink_stop(Pointer runtime, int timeoutMs);

    int relink_disconnect(Pointer runtime, int timeoutMs);

    long relink_unanswered();

    int relink_resume(Pointer runtime, long call, int timeoutMs, PointerByReference result);

    int relink_forget(Pointer runtime, long call);

    int relink_report(Pointer runtime, PointerByReference result);

    int relink_destroy(Pointer runtime, int timeoutMs);

    int relink_start(Pointer settings);

    int relink_wait(int timeoutMs);

    int relink_unload(int timeoutMs);
}
