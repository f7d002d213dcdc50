package relink;

/** Any answer of relink.h but OK. */
public class RelinkException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** What the library answered: {@code enum relink_answer}, in its order. */
    public enum Answer {
        OK, NOTHING, BUSY, TIMEOUT, REFUSED, STAYS, ARGUMENT, ENDED, THREW, UNKNOWN, WRONG_THREAD, INTERNAL, FORKED;

        static Answer of(int number) {
            return number >= 0 && number < values().length ? values()[number] : INTERNAL;
        }
    }

    private final Answer answer;

    RelinkException(int answer, String why) {
        super(why);
        this.answer = Answer.of(answer);
    }

    /** The code that docs/DIAGNOSTICS.md lists, as "E0301", if the reason has one; else null. */
    public String code() {
        String why = getMessage();
        return why != null && why.matches("(?s)E\\d{4}\\b.*") ? why.substring(0, 5) : null;
    }

    /** Which answer. For {@code THREW} the message is the error as JSON: name, message, code and stack. */
    public Answer answer() {
        return answer;
    }
}
