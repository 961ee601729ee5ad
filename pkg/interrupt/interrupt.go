// Package interrupt ends what a command does when somebody asks it to end.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"slices"
)

// Context ends with the first of some signals, so that what is half done can be taken back. A signal that the caller ignores (nohup, a job
// in the background of a script) asks for nothing. Of SIGHUP and SIGINT, that is: Go does not tell for others (os/signal).
func Context(parent context.Context, signals ...os.Signal) (context.Context, context.CancelFunc) {
	asking := slices.DeleteFunc(slices.Clone(signals), signal.Ignored)
	if len(asking) == 0 { // which would stand for all signals
		return context.WithCancel(parent)
	}
	return signal.NotifyContext(parent, asking...)
}
