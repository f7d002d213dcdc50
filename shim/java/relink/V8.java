package relink;

import com.sun.jna.Function;
import com.sun.jna.Memory;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.util.Map;

/**
 * A V8 for a process that has none: a shared library is loaded and its V8 initialised, as a program that embeds V8 does. It stays
 * for the process's life. Only functions are called that the library exports; one number of V8's is known here.
 */
public final class V8 {
    /** Where v8::Isolate::CreateParams has `array_buffer_allocator` (src/abi/catalogue/profiles), by V8's version. */
    private static final Map<String, Integer> ALLOCATOR = Map.of("10.2", 88, "11.3", 88, "12.4", 88, "13.6", 88);
    /** More than CreateParams has in any version. */
    private static final int ROOM = 4096;
    private static final String PLATFORM = "_ZN2v88platform18NewDefaultPlatformEiNS0_15IdleTaskSupportENS0_21InProcessStack"
        + "DumpingESt10unique_ptrINS_17TracingControllerESt14default_deleteIS4_EE";

    private static String started;
    /** Never given back. */
    private static Memory parameters;

    private V8() {}

    /**
     * Loads and initialises the V8 in a library. A second call does nothing.
     *
     * @return its version
     * @throws UnsatisfiedLinkError if the library has no V8, or one that is not known here
     */
    public static synchronized String start(String path) {
        if (started == null) {
            NativeLibrary library = NativeLibrary.getInstance(path);
            String version = library.getFunction("_ZN2v82V810GetVersionEv").invokeString(new Object[0], false);
            int offset = offset(path, version);
            initialise(library);
            makeIsolate(library, offset);
            started = version;
        }
        return started;
    }

    private static int offset(String path, String version) {
        Integer offset = ALLOCATOR.get(version.replaceFirst("^(\\d+\\.\\d+)\\..*", "$1"));
        if (offset == null) {
            throw new UnsatisfiedLinkError(path + ": V8 " + version + "; only " + ALLOCATOR.keySet() + " can be started from here");
        }
        return offset;
    }

    private static void initialise(NativeLibrary library) {
        PointerByReference platform = new PointerByReference();
        PointerByReference noTracing = new PointerByReference();
        // V8 12 added a parameter; a word more does no harm to the others.
        platform(library).invokeVoid(new Object[] {platform, 1, 0, 0, noTracing, 0});
        library.getFunction("_ZN2v82V818InitializePlatformEPNS_8PlatformE").invokeVoid(new Object[] {platform.getValue()});
        if ((library.getFunction("_ZN2v82V810InitializeEi").invokeInt(new Object[] {0}) & 0xff) == 0) {
            throw new UnsatisfiedLinkError("V8 could not be initialised");
        }
    }

    private static Function platform(NativeLibrary library) {
        try {
            return library.getFunction(PLATFORM);
        } catch (UnsatisfiedLinkError older) {
            return library.getFunction(PLATFORM + "NS0_12PriorityModeE");
        }
    }

    /** V8 completes its initialisation with the first isolate, which nobody uses. */
    private static void makeIsolate(NativeLibrary library, int offset) {
        parameters = new Memory(ROOM);
        parameters.clear();
        library.getFunction("_ZN2v87Isolate12CreateParamsC1Ev").invokeVoid(new Object[] {parameters});
        Function allocate = library.getFunction("_ZN2v811ArrayBuffer9Allocator19NewDefaultAllocatorEv");
        parameters.setPointer(offset, (Pointer) allocate.invoke(Pointer.class, new Object[0]));
        library.getFunction("_ZN2v87Isolate3NewERKNS0_12CreateParamsE").invoke(Pointer.class, new Object[] {parameters});
    }
}
