package blueprint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

// template is the definition of a configuration that is no network.
func (d *draft) template() conflist.Definition {
	about := d.about()
	about.Driver, about.ConfigOnly, about.IPv6, about.NoIPv4 = "null", true, d.IPv6, d.NoIPv4
	about.IPAMDriver = d.IPAMDriver
	return conflist.Definition{Name: d.Name, Labels: d.labels, About: about}
}

// checkTemplate refuses what is of the network that is made from a configuration, as Docker does.
func (d *draft) checkTemplate(ctx context.Context) error {
	for _, given := range []struct {
		flag string
		is   bool
	}{{"--internal", d.Internal}, {"--attachable", d.Attachable}, {"--scope", d.Scope != ""}, {"--driver", d.driverGiven}} {
		if given.is {
			return fmt.Errorf("%s is not part of a configuration for others: give it where --config-from makes the network", given.flag)
		}
	}
	if slices.Contains([]string{"", "default", "null", "none"}, d.IPAMDriver) {
		return nil
	}
	_, err := d.site.Plugins.Versions(ctx, d.IPAMDriver)
	return err
}

// copyFrom takes over the configuration of another network. As with Docker, it cannot be changed on the way. Of a network
// that is not for configuration only, what no two networks can share stays with it: its subnets, and the name of its bridge.
func (d *draft) copyFrom(ref string) error {
	if d.ConfigOnly {
		return errors.New("a network for configuration only cannot have its own from another one: leave out --config-only or --config-from")
	}
	if len(d.options)+len(d.labels)+len(d.pools)+len(d.ipamOptions) > 0 || d.IPv6 || d.NoIPv4 || d.IPAMDriver != "" {
		return fmt.Errorf("the configuration of %s is copied as it is: leave out options, labels, subnets and IPAM, or --config-from", ref)
	}
	source, err := d.site.Networks.Find(ref)
	if err != nil {
		return err
	}
	d.ConfigFrom = source.Name
	d.options, d.labels = maps.Clone(source.Options), maps.Clone(source.Labels)
	if source.ConfigOnly {
		d.pools, d.IPv6, d.NoIPv4 = slices.Clone(source.IPAM.Pools), source.IPv6, source.NoIPv4
		d.Internal, d.Attachable = d.Internal || source.Internal, d.Attachable || source.Attachable // in files of before they were refused
		d.IPAMDriver, d.ipamOptions = source.IPAM.Driver, source.IPAM.Options
		return nil
	}
	if d.Driver == "" {
		d.Driver = source.Driver
	}
	d.IPv6, d.NoIPv4 = source.Has6(), source.Has6() && !source.Has4()
	if source.IPAM.Driver != "default" {
		d.IPAMDriver = source.IPAM.Driver
	}
	d.Internal = d.Internal || source.Internal
	d.Attachable = d.Attachable || source.Attachable
	delete(d.options, "com.docker.network.bridge.name")
	delete(d.options, "bridge")
	return nil
}
