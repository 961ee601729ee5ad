package attach

import (
	"context"
	"errors"
	"log/slog"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
)

// addressesReady asks the IPAM plugin. A range that is full, or locked for the moment, is a warning: a runtime takes an error
// of STATUS for a node without a network, and then restarts no container that has its address already.
func addressesReady(ctx context.Context, plugin ipam.Plugin) error {
	err := plugin.Status(ctx)
	if err != nil && cnierr.Code(err) == cnierr.TryAgain {
		warnOfLimit(err)
		return nil
	}
	return err
}

// exceptLimits makes a warning of what is true for some containers only.
func exceptLimits(err error) error {
	if errors.Is(err, state.ErrLimited) {
		warnOfLimit(err)
		return nil
	}
	return err
}

func warnOfLimit(err error) {
	slog.Warn("not every ADD succeeds now, or every container is reached", "error", cnierr.Sentence(err))
}

// unavailable is STATUS's answer when no ADD would succeed. A mistake in the configuration keeps its own code, and so does
// an executed plugin's answer. What the host lacks, or has in the way, is to ADD a mistake in the configuration; to STATUS,
// it is the host that cannot serve.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, vxlan.ErrTunnel) {
		// CNI 1.1.0, section 2, STATUS: containers that are there have no way to other hosts either.
		return cnierr.Errorf(state.ErrLimited, "%w", err)
	}
	code := cnierr.Code(err)
	host := errors.Is(err, state.ErrUnsupported) || errors.Is(err, state.ErrAbsent) || errors.Is(err, state.ErrConflict)
	mistake := (code == cnierr.Config || code == cnierr.Decode) && !host
	if mistake || code == cnierr.Limited {
		return err
	}
	return cnierr.Errorf(cnierr.ErrUnavailable, "%w", err)
}
