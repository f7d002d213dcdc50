import relink.Options;
import relink.Runtime;
import relink.V8;

/** Java and Node in one process. Arguments: the guest, and a library with a V8. */
public final class Hello {
    private Hello() {}

    public static void main(String[] args) {
        // A process that has a V8 already needs no other.
        V8.start(args[1]);
        try (Runtime node = new Runtime(new Options(args[0]))) {
            node.register("greeting", it -> "{\"from\":\"Java\",\"args\":" + it + "}");
            node.runString("exports.ask = (...args) => ({ ...relink.host.greeting(...args), version: process.version });", "script");
            System.out.println(node.call("script.ask", "[\"world\"]"));
        }
    }
}
