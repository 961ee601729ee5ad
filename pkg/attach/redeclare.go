package attach

import (
	"fmt"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// RedeclareVariable makes a CHECK declare again what filters and translates an attachment's packets, instead of comparing:
// others flush nftables, and a runtime does not attach again for that. It is no part of CNI; `fairway repair` and the node
// agent set it.
const RedeclareVariable = "FAIRWAY_REDECLARE"

// Values of RedeclareVariable.
const (
	// RedeclareAll is for the newest attachment of a network, whose configuration is the one that counts. The answer of one
	// without a link has code cnierr.Detached: another has to do it.
	RedeclareAll = "all"
	// RedeclareOwn leaves out what the network's attachments share.
	RedeclareOwn = "own"
)

// redeclare declares the set again if the attachment's link is there. Without it, nothing sends packets.
func (c *call) redeclare(k *kernel.Kernel, hostLink string, set state.Set) error {
	if _, err := k.Host.Link(hostLink); kernel.IsNotFound(err) {
		if c.env.Redeclare == RedeclareAll && set.Shares() {
			return fmt.Errorf("link %s: %w", hostLink, cnierr.ErrDetached)
		}
		return nil
	}
	return set.Redeclare(k, c.env.Redeclare == RedeclareAll)
}
