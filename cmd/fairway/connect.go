package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/driver"
	"github.com/fairway-cni/fairway/pkg/kernel"
)

func newConnect(e *env) *cobra.Command {
	var o endpointFlags
	var docker dockerEndpoint
	cmd := &cobra.Command{
		Use:   "connect [OPTIONS] NETWORK CONTAINER",
		Short: "Connect a container to a network",
		Long: `Connect a running container to a network, by one more interface.

CONTAINER is an ID of containerd, the beginning of one, or a name that nerdctl or a kubelet gave; a container of any other
runtime, by the ID or name under which it is on a network already; the process pid:N; or the namespace netns:PATH.`,
		Example: `  fairway connect lamp web
  fairway connect --ip 10.5.0.20 --alias mysql lamp db
  fairway connect lamp pid:4711
  fairway connect lamp netns:/run/netns/blue`,
		Args:              arguments(2, 2),
		ValidArgsFunction: e.completeConnect,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := docker.apply(&o); err != nil {
				return usageError{err}
			}
			request, err := o.request()
			if err != nil {
				return usageError{err}
			}
			ctx, cancel := undisturbed(cmd)
			defer cancel()
			return connect(ctx, e, args[0], args[1], request)
		},
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&o.ifname, "ifname", "", "`name` of the interface (default: the ethN after those it has)")
	docker.addFlags(cmd.Flags())
	refusedOfConnect.addTo(cmd)
	e.addContainerFlags(cmd)
	return cmd
}

// dockerEndpoint are the flags of `docker network connect` that say what has another name here, or cannot be had.
type dockerEndpoint struct {
	options  []string
	priority int
}

func (o *dockerEndpoint) addFlags(flags *pflag.FlagSet) {
	flags.StringArrayVar(&o.options, "driver-opt", nil, "`KEY=VALUE`: com.docker.network.endpoint.ifname, for --ifname")
	flags.IntVar(&o.priority, "gw-priority", 0, "refused unless 0: a container's first network keeps its default route")
	must(flags.MarkHidden("gw-priority"))
}

// apply fills in what the flags mean. The error says why that cannot be.
func (o *dockerEndpoint) apply(to *endpointFlags) error {
	if o.priority != 0 {
		return errors.New("--gw-priority: the default route of a container that runs stays that of its first network: run --network NET,gw-priority=N chooses that one")
	}
	for _, text := range o.options {
		ifname, ok := strings.CutPrefix(text, ifNameOption+"=")
		if !ok {
			return fmt.Errorf("--driver-opt %q: there is %s=NAME alone", text, ifNameOption)
		}
		to.ifname = ifname
	}
	return nil
}

// connect attaches the container to the network, as requested.
func connect(ctx context.Context, e *env, networkRef, containerRef string, request attachment.Request) error {
	networks, err := e.settledFor(networkRef)
	if err != nil {
		return err
	}
	network, err := networks.Find(networkRef)
	if err != nil {
		return err
	}
	if err := fits(network, request); err != nil {
		return err
	}
	runtime := e.runtime()
	attached, err := e.attachedOf(containerRef)
	if err != nil {
		return err
	}
	c, err := e.finder(attached).Find(ctx, containerRef)
	if err != nil {
		return err
	}
	if kernel.IsHost(c.Netns) {
		return fmt.Errorf("container %s shares the host's network: it cannot be connected to another", containerRef)
	}
	request.ID, request.Name, request.Netns, request.File = c.ID, c.Name, c.Netns, network.File
	_, err = runtime.Attach(ctx, network.List, request)
	return err
}

// fits says why a network cannot take a container as requested, or nil. It knows what the network's file says of addresses;
// where that says nothing, the plugins decide.
func fits(n conflist.Network, request attachment.Request) error {
	switch {
	case n.ConfigOnly:
		return fmt.Errorf("network %s holds a configuration for others: it cannot be connected to", n.Name)
	case !connectable(n):
		return fmt.Errorf("network %s%s", n.Name, driver.Of(n.Driver).Fixed)
	}
	for _, ip := range request.IPs {
		if err := fitsIn(n, ip); err != nil {
			return err
		}
	}
	return nil
}
