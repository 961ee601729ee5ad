package agent

import (
	"context"
	"log/slog"

	"github.com/fairway-cni/fairway/pkg/rulewatch"
)

// rules is the source that reports what others delete of the filters of networks. Without it, the audit notices.
func (a *Agent) rules(ctx context.Context) error {
	err := rulewatch.Watch(ctx, func(context.Context) {
		a.watched.mu.Lock()
		for name := range a.cache.remembered() {
			a.watched.hurt[name] = true
		}
		a.watched.mu.Unlock()
		a.wake.set()
	})
	if ctx.Err() == nil {
		slog.Warn("deleted rules are noticed by the audit alone", "error", err)
		<-ctx.Done()
	}
	return ctx.Err()
}
