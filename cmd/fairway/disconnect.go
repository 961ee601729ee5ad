package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/container"
)

func newDisconnect(e *env) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "disconnect [OPTIONS] NETWORK CONTAINER",
		Short: "Disconnect a container from a network",
		Long: `Disconnect a container from a network: its interface there goes, with its address. When that was the way out,
another network of the container takes over. Ports that its runtime published there are published again when "fairway connect"
brings it back. CONTAINER is what "fairway connect --help" says.`,
		Example: `  fairway disconnect lamp web
  fairway disconnect -f lamp web    # also when the container has gone`,
		Args:              arguments(2, 2),
		ValidArgsFunction: e.completeDisconnect,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := undisturbed(cmd)
			defer cancel()
			return disconnect(ctx, e, args[0], args[1], force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also when the container has gone")
	e.addContainerFlags(cmd)
	return cmd
}

// disconnect detaches the container from the network. What CNI has recorded counts, not the network's file, which may have
// been removed since.
func disconnect(ctx context.Context, e *env, networkRef, containerRef string, force bool) error {
	runtime := e.runtime()
	attached, err := runtime.List()
	if err != nil {
		return err
	}
	network, err := e.networkName(networkRef, attached)
	if err != nil {
		return err
	}
	var found []attachment.Attachment
	c, err := e.finder(attached).Find(ctx, containerRef)
	switch {
	case err == nil:
		found = ofContainer(network, c, attached)
	case force && (errors.Is(err, container.ErrNotFound) || errors.Is(err, container.ErrNotRunning)):
		found = ofGone(network, containerRef, attached)
	default:
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("container %s %w to network %s", containerRef, attachment.ErrNotConnected, network)
	}
	var errs []error
	for _, a := range found {
		errs = append(errs, runtime.Disconnect(ctx, a))
	}
	return errors.Join(errs...)
}

// networkName is the name of a network that there is, or that containers are on although its file has gone.
func (e *env) networkName(ref string, attached []attachment.Attachment) (string, error) {
	networks, err := e.networks()
	if err != nil {
		return "", err
	}
	network, err := networks.Find(ref)
	if err == nil {
		return network.Name, nil
	}
	for _, a := range attached {
		if a.Network == ref {
			return ref, nil
		}
	}
	return "", err
}

// ofContainer is a container's attachments to a network.
func ofContainer(network string, c container.Container, attached []attachment.Attachment) (found []attachment.Attachment) {
	for _, a := range attached {
		if a.Network == network && (a.ID == c.ID || a.In(c.Netns)) {
			found = append(found, a)
		}
	}
	return found
}

// ofGone is what a container has left on a network, by its ID, the beginning of it, or its name.
func ofGone(network, ref string, attached []attachment.Attachment) (found []attachment.Attachment) {
	for _, a := range attached {
		if a.Network == network && !a.Alive() && (a.Name == ref || strings.HasPrefix(a.ID, container.RecordedID(ref))) {
			found = append(found, a)
		}
	}
	return found
}
