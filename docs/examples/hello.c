/* hello.c: a host that lets Node in on a thread of its own, asks it something and sends it away again.
 *
 * hello() is called by a program that has a V8 and has initialised it. In the tests that is fixtures/hosts/v8_main.cc. */
#include <stdio.h>
#include <string.h>

#include "relink.h"

/* relink.host.greeting(name) in scripts: JSON in, JSON out. */
static int greeting(void *context, const char *args, relink_reply *reply) {
  printf("the script asks for %s\n", args);
  relink_reply_set(reply, (const char *)context);
  return 0;
}

static const char kScript[] =
    "const os = require('os');\n"
    "exports.greet = async (name) => {\n"
    "  await new Promise((done) => setTimeout(done, 10));\n"
    "  return `${relink.host.greeting(name)}, ${name}! ${os.platform()}`;\n"
    "};\n";

int hello(const char *guest);
int hello(const char *guest) {
  relink_options options;
  relink_runtime *node = NULL;
  char *answer = NULL;
  int failed;

  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.guest = guest;
  options.wait_ms = 10000;
  failed = relink_create(&options, &node);
  if (!failed) failed = relink_register(node, "greeting", greeting, "\"Hello\"");
  if (!failed) failed = relink_run(node, RELINK_STRING, kScript, "hello", 5000, NULL);
  if (!failed) failed = relink_call(node, "hello.greet", "[\"world\"]", 5000, &answer);
  if (failed) fprintf(stderr, "hello: %s\n", relink_last_error());
  if (!failed) printf("Node says %s\n", answer);
  relink_free(answer);
  if (node != NULL && relink_destroy(node, 5000) != RELINK_OK) return 1;
  return failed;
}

#ifdef HOST
int host_main(int argc, char **argv);
int host_main(int argc, char **argv) { return argc == 2 ? hello(argv[1]) : 2; }
#endif
