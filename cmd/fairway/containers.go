package main

import (
	"cmp"
	"context"
	"os"
	"os/signal"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/container"
	"github.com/fairway-cni/fairway/pkg/interrupt"
)

// addContainerFlags gives a command the flags by which containers are found.
func (e *env) addContainerFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.containerd, "address", orDefault("CONTAINERD_ADDRESS", container.DefaultAddress),
		"containerd's `socket`, also by CONTAINERD_ADDRESS")
}

// runtime is what executes plugins. What they say beside their results goes to stderr.
func (e *env) runtime() attachment.Runtime {
	return attachment.Runtime{Plugins: e.pluginDirs(), Stderr: e.stderr, Netconf: e.netconfDir, Names: e.namesByID(), Warn: e.warn}
}

// namesByID asks containerd once in the process, when the first name is wanted.
func (e *env) namesByID() func() map[string]string {
	if e.names == nil {
		e.names = sync.OnceValue(func() map[string]string {
			address := cmp.Or(e.containerd, orDefault("CONTAINERD_ADDRESS", container.DefaultAddress))
			return container.Names(context.Background(), address)
		})
	}
	return e.names
}

// attachedOf is the attachments among which a container is to be found: all, or where it is named by its namespace those in it.
func (e *env) attachedOf(containerRef string) ([]attachment.Attachment, error) {
	if path, ok := container.PathOf(containerRef); ok {
		if attached, err := e.runtime().In(path); err == nil { // else the finder says what is wrong with the path
			return attached, nil
		}
	}
	return e.runtime().List()
}

// finder looks for containers in containerd, and among those attached.
func (e *env) finder(attached []attachment.Attachment) container.Finder {
	return container.Finder{Address: e.containerd, Attached: attached}
}

// untilInterrupted is a context that ends when the process is asked to.
func untilInterrupted(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	return interrupt.Context(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
}

// undisturbed is untilInterrupted for what is done in several steps: a reader who has gone ends no command between two of them, as SIGPIPE
// does where nobody asks for it (os/signal, "SIGPIPE").
func undisturbed(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	return untilInterrupted(cmd)
}
