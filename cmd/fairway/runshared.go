package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/container"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/sandbox"
)

// sharedContainer is the container whose network the flags ask for.
func sharedContainer(networks []string) (ref string, is bool) {
	for _, text := range networks {
		if ref, is = strings.CutPrefix(text, "container:"); is {
			return ref, true
		}
	}
	return "", false
}

// share gives a command the network of a container, with its names.
func (e *env) share(spec *sandbox.Spec, o runFlags, ref string) error {
	switch asked, err := o.endpoint.request(); {
	case err != nil:
		return usageError{err}
	case len(o.networks) > 1:
		return usageError{fmt.Errorf("--network container:%s cannot be combined with another network", ref)}
	case o.named(), len(o.networkAliases)+len(o.sysctls)+len(o.ports.publish)+len(o.ports.expose) > 0, o.ports.all,
		len(asked.IPs)+len(asked.Aliases)+len(asked.MAC) > 0:
		return usageError{errShared}
	}
	attached, err := e.runtime().List()
	if err != nil {
		return err
	}
	c, err := e.finder(attached).Find(context.Background(), ref)
	if err != nil {
		return err
	}
	if spec.HostNetwork = kernel.IsHost(c.Netns); spec.HostNetwork {
		return nil
	}
	etc := container.Etc(c.Netns)
	spec.Netns, spec.Hostname = c.Netns, strings.TrimSpace(etc["/etc/hostname"])
	spec.Files = func([]attachment.Attachment) map[string]string { return etc }
	return nil
}
