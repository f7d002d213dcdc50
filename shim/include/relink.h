/* relink.h: bringing Node into a process that has a V8, talking to it, and taking it out again.
 *
 * The functions are those of librelink.so, loaded with dlopen() or linked (relink.pc); with LD_PRELOAD and RELINK_* variables
 * none of them is needed. C99, no other header. Nothing is thrown; no function of the host's that is
 * called back may throw or jump out either. docs/EMBEDDING.md tells more.
 *
 * Threads: each function says which may call it. "Any" means any thread of the host's, at any time, but not one that holds a
 * lock that the guest's scripts wait for. The guest's thread is the one that Node runs on: its own, or the host's that
 * ticks it; callbacks and functions of the host's are called there. No function may be called by a handler of a signal.
 *
 * Moments: in a process that was forked after a runtime was created, every function answers FORKED at once; create runtimes after
 * fork() or daemon(). While a library is loaded or unloaded (its constructors, its destructors) threads can neither start nor end:
 * relink_create() answers REFUSED (E0212), and relink_stop(), relink_join() and relink_destroy() TIMEOUT at once, after which nothing of
 * the host's is called.
 *
 * Strings are UTF-8 and end with a NUL. What is passed in is copied. What comes out as `char **` is the caller's, to be given
 * to relink_free(); the pointer may be null if it is not wanted.
 */
#ifndef RELINK_H_
#define RELINK_H_

#ifdef __cplusplus
extern "C" {
#endif

/* What the functions answer. A number never changes its meaning. */
enum relink_answer {
  RELINK_OK = 0,
  RELINK_NOTHING = 1,      /* there is no such guest (any more) */
  RELINK_BUSY = 2,         /* called from within a script of this runtime; relink_start(): there is one already */
  RELINK_TIMEOUT = 3,      /* not in time; what was asked for may still happen */
  RELINK_REFUSED = 4,      /* it cannot be brought in; relink_last_error() says why */
  RELINK_STAYS = 5,        /* it has ended, but something of it can never end: it stays loaded */
  RELINK_ARGUMENT = 6,     /* a null pointer, a wrong size, a text that is not JSON or not UTF-8 */
  RELINK_ENDED = 7,        /* Node has ended, or is about to */
  RELINK_THREW = 8,        /* the script threw or rejected: the result has name, message, code and stack */
  RELINK_UNKNOWN = 9,      /* no function of that name */
  RELINK_WRONG_THREAD = 10,/* not on this thread; or: the answer could never come while this thread waits for it */
  RELINK_INTERNAL = 11,    /* an error of Relink's own code */
  RELINK_FORKED = 12       /* this process was forked from the one that Node is in: so every function answers there, at once */
};

/* The version of the library; lives for ever. Any thread. */
const char *relink_version(void);

/* Why the last function that this thread called did not answer OK; "" if it did. Lives until the thread's next call. */
const char *relink_last_error(void);

/* Gives a string back. Null is fine. Any thread. */
void relink_free(char *text);

/* ------------------------------------------------------------------------------------------------------------------------
 * A guest that the host talks to
 *
 * Several runtimes run side by side. Each has an isolate, an event loop, scripts, functions of the host's and an end of its own;
 * what one does, and how it ends, is none of the others' concern. They share one libnode and what Node has once per process, so
 * guest, node_args, cwd and provider are those of the first as long as one of them is there: relink_create() refuses others. Also
 * one for all: the process's title, environment (but for `env`), working directory, umask and users; V8's flags; handlers of signals
 * that scripts send to this process, which reach each runtime that has one; libuv's thread pool; OpenSSL's configuration. EMBEDDING.md
 * has the rest. A runtime whose `how` is "abort" is lost: the others go on, but no other can come.
 */

/* A handle, never dereferenced. One that is no longer valid is answered with NOTHING. */
typedef struct relink_runtime relink_runtime;

enum relink_mode {
  RELINK_OWN_THREAD = 0,   /* Node has a thread of its own; the host does nothing */
  RELINK_TICKED = 1,       /* Node runs on the thread that creates it, while that calls relink_tick() */
  RELINK_SHARED = 2        /* the same in an isolate of the host's, whose scripts and Node's exchange objects */
};

/* Bits of relink_options.flags. */
enum relink_flag {
  RELINK_STAY = 1          /* Node stays when its script has nothing more to do. Always so without a script */
};

/* Set `size` and what is wanted, all else to 0. Lists end with a null pointer and may be null themselves. */
typedef struct relink_options {
  unsigned int size;              /* sizeof(relink_options); an earlier version is taken, too */
  unsigned int mode;              /* enum relink_mode */
  const char *guest;              /* the libnode to bring in; needed */
  const char *script;             /* Node's main script; may be null */
  const char *const *args;        /* its arguments */
  const char *const *node_args;   /* Node's own options, as "--no-warnings" */
  const char *const *env;         /* "NAME=VALUE": process.env is a copy of the host's with these; null: it is the host's */
  const char *cwd;                /* working directory of the guest alone; own thread only */
  const char *const *disallow;    /* what scripts may not do: "child_process", "addons", "inspector" */
  const char *provider;           /* a part of the path of the module whose V8 is meant, if there are several */
  const char *report;             /* a file that the report is written to when Node has ended */
  unsigned int max_heap_mib;      /* Node is stopped before its JavaScript heap grows beyond this; 0: V8's own limit. Its Workers: those
                                     that start before another runtime is created; others take resourceLimits */
  unsigned int wait_ms;           /* how long to wait for the host's V8 to be initialised; 0: not at all */
  unsigned int flags;             /* RELINK_STAY */
  unsigned int reserved;          /* 0 */
  /* The first version ends here. */
  void *isolate;                  /* shared only: the v8::Isolate * */
  const void *context;            /* shared only: a v8::Local<v8::Context> *, that of the scripts that use Node */
  const char *expose;             /* shared only: that context's global object gets { require, process, global } by this name */
  /* The second version ends here. */
  unsigned int script_deadline_ms;/* ticked and shared: a tick, a call on the guest's thread, or the main script in relink_create(), that
                                     takes longer is interrupted, and the runtime ends ("deadline" in its report); 0: never. What
                                     functions of the host's take counts */
  unsigned int stack_kib;         /* own thread: its stack, 0: 8192. Ticked: what scripts may use of the stack below the caller, for stacks that
                                     end where it cannot be seen (from malloc, without a guard page); 0: found out. 192 to 1048576 */
} relink_options;

/* Shared mode. The thread that calls a function of the guest's, be it relink_create() or a script's require(), is the one that
 * created it, and has locked (if the host uses lockers at all) and entered the isolate; else WRONG_THREAD. Node has a context of
 * its own there. The isolate's settings stay the host's (microtask policy, callbacks, limits, inspector). What Node's objects
 * rest on stays as long as the guest is not destroyed, also when Node has ended: destroy it when no script of the isolate will
 * run any more, before the isolate is disposed. The answer is STAYS then: heaps refer to the guest's code. EMBEDDING.md has the
 * rest. */

/* Says whether Node could be brought in, without changing anything: OK, or REFUSED. The result is the report so far (JSON),
 * whatever the answer. Any thread. */
int relink_probe(const relink_options *options, char **result);

/* Brings Node in, and returns when it can be talked to, at which its script may not yet have run (own thread) or has run up
 * to its first wait (ticked): OK, ARGUMENT, REFUSED (also where it cannot be beside those that there are), WRONG_THREAD. Any thread,
 * also from within a script of another runtime; in ticked mode it becomes the guest's, and must be the host's (WRONG_THREAD).
 * One thread may tick several, and one from within another. A stack that scripts cannot run on is REFUSED, as for
 * every function that enters a ticked guest. When the thread that ticks a runtime ends, the runtime ends; any thread may
 * destroy it then. */
int relink_create(const relink_options *options, relink_runtime **runtime);

enum relink_kind {
  RELINK_FILE = 0,         /* `what` is the path of a script, CommonJS or ES module */
  RELINK_STRING = 1,       /* `what` is the source of a CommonJS module */
  RELINK_PACKAGE = 2       /* `what` is a package or built-in module, looked for from the working directory */
};

/* Loads a script. Its exports can be called as "name.function" from then on. The result tells what they are (JSON). OK, NOTHING,
 * ARGUMENT, TIMEOUT, ENDED, THREW, WRONG_THREAD. Any thread. */
int relink_run(relink_runtime *runtime, int kind, const char *what, const char *name, unsigned int timeout_ms,
               char **result);

/* Calls a function: "name.function" of a script that relink_run() loaded, or of the global object. `args` is a JSON array; null
 * is none. The result is what it returns, or what its promise is resolved with, as JSON. OK, NOTHING, ARGUMENT, TIMEOUT, ENDED,
 * THREW, UNKNOWN, WRONG_THREAD. Any thread. On the guest's thread the function is called at once; in ticked mode the guest is
 * then ticked until its promise is settled. From within a script's call of the host a promise cannot be waited for. */
int relink_call(relink_runtime *runtime, const char *function, const char *args, unsigned int timeout_ms, char **result);

/* relink_run() and relink_call() in steps, for a caller that has other things to look after: the number of the call that this thread was
 * answered TIMEOUT for just now, or 0. One that nobody has asked for is dropped by the thread's next call. Any thread. */
unsigned long long relink_unanswered(void);

/* Waits again for that call: what relink_call() would have answered, also TIMEOUT as often as it is late; NOTHING if there is no such call.
 * On the thread that ticks it ticks meanwhile. Any thread. */
int relink_resume(relink_runtime *runtime, unsigned long long call, unsigned int timeout_ms, char **result);

/* The call is not waited for any more: OK, NOTHING. Any thread. */
int relink_forget(relink_runtime *runtime, unsigned long long call);

/* Called once on the guest's thread, with the answer that relink_call() would have given and its result, which lives for
 * the call. */
typedef void (*relink_done)(void *context, int answer, const char *result);

/* The same without waiting: OK, NOTHING, ARGUMENT, ENDED. `done` is called for each OK. Any thread. */
int relink_call_async(relink_runtime *runtime, const char *function, const char *args, relink_done done, void *context);

/* What a function of the host's gives back. */
typedef struct relink_reply relink_reply;

/* A function of the host's. `args` is a JSON array. 0, or anything else for an error to be thrown. Guest's thread. */
typedef int (*relink_function)(void *context, const char *args, relink_reply *reply);

/* Sets the value (JSON) of a function of the host's, or the message of its error. Within that function only. */
void relink_reply_set(relink_reply *reply, const char *text);

/* Lets scripts call relink.host.NAME(...). Null takes it away again. OK, NOTHING, ARGUMENT. Any thread. */
int relink_register(relink_runtime *runtime, const char *name, relink_function function, void *context);

/* Called on the guest's thread: with run = 1 on its loop, with run = 0 if Node ended before. */
typedef void (*relink_callback)(void *context, int run);

/* Has the callback called: OK, NOTHING, ARGUMENT, ENDED. Any thread. */
int relink_post(relink_runtime *runtime, relink_callback callback, void *context);

/* Does what is due in the guest and returns: OK, or ENDED. Never waits. The budget (microseconds) is looked at between rounds of
 * the event loop: one callback is never cut short, but by script_deadline_ms. NOTHING, BUSY, WRONG_THREAD. The thread that created it, ticked mode. */
int relink_tick(relink_runtime *runtime, unsigned long long budget_us);

/* Waits until Node has ended by itself: OK, NOTHING, TIMEOUT; WRONG_THREAD on the guest's thread. */
int relink_join(relink_runtime *runtime, unsigned int timeout_ms);

/* Ends Node, whatever it is doing: OK, NOTHING, TIMEOUT. Any thread, but BUSY from within its scripts. A ticked guest that is
 * stopped by another thread ends in its next tick. */
int relink_stop(relink_runtime *runtime, unsigned int timeout_ms);

/* The same for a host whose functions cannot be called for long, because its language's run time ends or its library is unloaded: after it,
 * whatever it answers, none of them is called. Calls that were to be told are told before, if Node ends in time. A thread that is in
 * one of them then never comes back into the guest, which is lost: TIMEOUT. OK, NOTHING, TIMEOUT, BUSY. Any thread. */
int relink_disconnect(relink_runtime *runtime, unsigned int timeout_ms);

/* The report so far (JSON): OK, NOTHING, ARGUMENT. Any thread. */
int relink_report(relink_runtime *runtime, char **result);

/* Stops Node if it runs and takes the runtime out of the process, with the last one the guest: its slots, the host's platform and every
 * library that came with it are as before. OK, NOTHING, TIMEOUT, BUSY, STAYS; WRONG_THREAD for a ticked guest elsewhere than on its
 * thread. After OK and STAYS the handle is no longer valid; after the last OK another guest may come. Add-ons stay loaded until then. */
int relink_destroy(relink_runtime *runtime, unsigned int timeout_ms);

/* ------------------------------------------------------------------------------------------------------------------------
 * A guest that just runs a script
 */

/* Brings Node in, on a thread of its own. `settings` are the RELINK_* variables of README.md, each "NAME=VALUE", then a
 * null pointer; RELINK_GUEST and RELINK_SCRIPT are needed. Returns at once: OK, BUSY or REFUSED. Why Node could not be brought
 * in is told on standard error and in the report that RELINK_REPORT names. One such guest at a time, beside runtimes. Any thread. */
int relink_start(const char *const *settings);

/* Waits until that guest has ended by itself, at most so many milliseconds: OK, NOTHING or TIMEOUT. Any thread. */
int relink_wait(unsigned int timeout_ms);

/* Asks that guest to end if it runs, waits for that at most so many milliseconds, and takes it out of the process. OK, NOTHING,
 * TIMEOUT or STAYS. After OK another may be started. Any thread. */
int relink_unload(unsigned int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif /* RELINK_H_ */
