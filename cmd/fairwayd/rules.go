package main

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/porthold"
	"github.com/fairway-cni/fairway/pkg/rulewatch"
)

// keepRules declares again what containers' rules others delete, until the context ends. Networks of the agent come back by
// the agent itself as well, which notices what they have lost.
func keepRules(ctx context.Context, plugins []string) {
	runtime := attachment.Runtime{Plugins: plugins, Stderr: io.Discard}
	err := rulewatch.Watch(ctx, func(ctx context.Context) {
		repaired, err := runtime.Repair(ctx, "")
		if err != nil {
			slog.Warn("rules not declared again", "error", err)
		}
		slog.Info("rules declared again", "attachments", len(repaired))
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		slog.Warn("deleted rules are not noticed", "error", err)
	}
}

// holdPorts holds the host's side of published ports, until the context ends.
func holdPorts(ctx context.Context) {
	if err := porthold.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		slog.Warn("published ports are not held", "error", err)
	}
}
