package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/fairway-cni/fairway/pkg/fastpath"
)

// carryFast has packets be carried without the host's stack, until what it gives is called, which waits until none is. A host that cannot is as
// healthy as before: the stack carries them.
func carryFast(ctx context.Context, k *fastpath.Keeper) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		switch err := k.Run(ctx); {
		case errors.Is(err, fastpath.ErrUnsupported):
			slog.Warn("fast path off: the kernel has not what it needs, the host's stack carries all packets", "error", err)
		case err != nil:
			slog.Warn("fast path off: the host's stack carries all packets", "error", err)
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
