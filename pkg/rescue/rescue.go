// Package rescue turns a panic into an error, where a process has to answer and to take back what it has made. It is for
// panics of the caller's own goroutine; no other can be rescued from.
package rescue

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

// ErrPanic says that a function panicked: a bug of the program, not a state of the host.
var ErrPanic = errors.New("bug")

// Panic is to be deferred by a function with a named error: a panic becomes that error, which says where it happened and
// wraps ErrPanic. An error that the function was about to return gives way. The whole stack is logged.
func Panic(err *error) {
	value := recover()
	if value == nil {
		return
	}
	slog.Error("panic", "value", fmt.Sprint(value), "stack", string(debug.Stack()))
	// The value's own chain is cut: an error that a panic carries says nothing of what the caller asked for.
	*err = fmt.Errorf("%w in %s: %v: please report it with this text", ErrPanic, origin(), value)
}

// origin is where the panic happened, as package/file:line.
func origin() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	panicked := false
	for {
		frame, more := frames.Next()
		ofRuntime := strings.HasPrefix(frame.Function, "runtime.")
		if panicked && !ofRuntime {
			dir, file := filepath.Split(frame.File)
			return fmt.Sprintf("%s/%s:%d", filepath.Base(dir), file, frame.Line)
		}
		panicked = panicked || frame.Function == "runtime.gopanic"
		if !more {
			return "an unknown place"
		}
	}
}
