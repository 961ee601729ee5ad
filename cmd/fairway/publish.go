package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

func newPublish(e *env) *cobra.Command {
	var network string
	var from []string
	cmd := &cobra.Command{
		Use:   "publish [OPTIONS] CONTAINER PORT...",
		Short: "Publish ports of a running container",
		Long: `Publish ports of a running container at the host: what comes to HOST goes to CONTAINER.

PORT is [IP:]HOST:CONTAINER[/PROTOCOL], as "docker run -p" has it; both may be ranges, 8000-8099:8000-8099. It lasts until
"fairway unpublish", or until the container leaves the network. CONTAINER is what "fairway connect --help" says.`,
		Example: `  fairway publish web 8080:80
  fairway publish --from 192.168.1.0/24 web 127.0.0.1:8443:443 5353:53/udp`,
		Args:              arguments(2, many),
		ValidArgsFunction: e.completePublish,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := parsePorts(args[1:])
			if err != nil {
				return err
			}
			sources, err := attach.Prefixes("--from has", from)
			if err != nil {
				return usageError{err}
			}
			for i := range list {
				list[i].Sources = sources
			}
			return e.withPublished(cmd, args[0], network, func(k *kernel.Kernel, p ports.Published) error {
				p.Ports = list
				_, err := state.Set{p}.Apply(k)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&network, "network", "", "`name` of the network, for a container that is on several")
	cmd.Flags().StringSliceVar(&from, "from", nil, "`prefixes` that may come in (default: all)")
	e.addContainerFlags(cmd)
	return cmd
}

func newUnpublish(e *env) *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use:               "unpublish [OPTIONS] CONTAINER PORT...",
		Short:             "Take published ports of a running container back",
		Long:              `Take published ports of a running container back. PORT is what "fairway publish --help" says.`,
		Example:           `  fairway unpublish web 8080:80`,
		Args:              arguments(2, many),
		ValidArgsFunction: e.completePublish,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := parsePorts(args[1:])
			if err != nil {
				return err
			}
			return e.withPublished(cmd, args[0], network, func(k *kernel.Kernel, p ports.Published) error {
				return ports.Withdraw(k, p.Owner, list)
			})
		},
	}
	cmd.Flags().StringVar(&network, "network", "", "`name` of the network, for a container that is on several")
	e.addContainerFlags(cmd)
	return cmd
}

// withPublished calls f with what a container has on a network, as an object without ports.
func (e *env) withPublished(cmd *cobra.Command, containerRef, networkRef string, f func(*kernel.Kernel, ports.Published) error) error {
	ctx, cancel := undisturbed(cmd)
	defer cancel()
	a, err := e.attachmentOf(ctx, containerRef, networkRef)
	if err != nil {
		return err
	}
	k, err := kernel.Open("")
	if err != nil {
		return err
	}
	defer k.Close()
	return e.runtime().Hold(ctx, a, func() error {
		return f(k, ports.Published{
			Owner: a.Owner(),
			Addrs: firstOfEach(a.Addresses), Hairpin: true,
		})
	})
}

// attachmentOf is the one attachment with addresses that a container has, or the one to a network.
func (e *env) attachmentOf(ctx context.Context, containerRef, networkRef string) (a attachment.Attachment, err error) {
	attached, err := e.runtime().List()
	if err != nil {
		return a, err
	}
	c, err := e.finder(attached).Find(ctx, containerRef)
	if err != nil {
		return a, err
	}
	var found []attachment.Attachment
	var names []string
	for _, other := range attached {
		if (other.ID == c.ID || other.In(c.Netns)) && len(other.Addresses) > 0 && other.IfName != "lo" && (networkRef == "" || other.Network == networkRef) {
			found, names = append(found, other), append(names, other.Network)
		}
	}
	switch len(found) {
	case 0:
		if networkRef != "" {
			return a, fmt.Errorf("container %s %w to network %s", containerRef, attachment.ErrNotConnected, networkRef)
		}
		return a, fmt.Errorf("container %s is on no network by which it has an address", containerRef)
	case 1:
		return found[0], nil
	}
	slices.Sort(names)
	return a, fmt.Errorf("container %s is on networks %s: choose one with --network", containerRef, strings.Join(names, ", "))
}
