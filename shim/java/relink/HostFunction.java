package relink;

/** A function of Java's that scripts call as {@code relink.host.NAME(...)}, on Node's thread. */
@FunctionalInterface
public interface HostFunction {
    /**
     * @param args a JSON array
     * @return JSON; null is {@code null}
     * @throws Exception whatever it throws is an error in the script, with its text as message
     */
    String call(String args) throws Exception;
}
