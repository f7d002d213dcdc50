/**
 * Node.js on the V8 that a Java process has, through relink.h and JNA.
 *
 * <p>Values cross as JSON texts, so any JSON library does. Strings belong to Java: nothing has to be released. Functions that
 * scripts call run on Node's thread, which the JVM attaches for the call. docs/EMBEDDING.md has the rules.
 */
package relink;
