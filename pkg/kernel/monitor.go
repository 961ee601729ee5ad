package kernel

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Event is a change of a link of the host, or of its addresses.
type Event struct {
	// Link is its name; empty when events were missed, of whatever link.
	Link string
}

// Monitor calls f for each change of the host's links and addresses, until the context ends. When the kernel has dropped
// events, because there were too many, f gets one without a name. It is called from two
// goroutines.
func Monitor(ctx context.Context, f func(Event)) error {
	for ctx.Err() == nil {
		if err := monitor(ctx, f); err != nil {
			return err
		}
		f(Event{})
	}
	return nil
}

// monitor serves one subscription. It returns nil when that has ended, as it does when events were dropped.
func monitor(ctx context.Context, f func(Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	links, addrs := make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate)
	ignore := func(error) {} // the subscription ends with it, which is what counts
	linkOptions := netlink.LinkSubscribeOptions{ErrorCallback: ignore}
	if err := netlink.LinkSubscribeWithOptions(links, ctx.Done(), linkOptions); err != nil {
		return fmt.Errorf("ip monitor link: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for update := range links {
			f(Event{Link: update.Attrs().Name})
		}
		cancel()
	}()
	addrOptions := netlink.AddrSubscribeOptions{ErrorCallback: ignore}
	if err := netlink.AddrSubscribeWithOptions(addrs, ctx.Done(), addrOptions); err != nil {
		cancel()
		<-ended
		return fmt.Errorf("ip monitor address: %w", err)
	}
	for update := range addrs {
		// A link that is gone has had an event of its own.
		if link, err := netlink.LinkByIndex(update.LinkIndex); err == nil {
			f(Event{Link: link.Attrs().Name})
		}
	}
	cancel()
	<-ended
	return nil
}
