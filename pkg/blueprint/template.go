package blueprint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

// template is the definition of a configuration that is no network.
func (d *draft) template() conflist.Definition {
	about := d.about()
	about.Driver, about.ConfigOnly, about.IPv6, about.NoIPv4 = "null", true, d.IPv6, d.NoIPv4
	about.IPAMDriver = d.IPAMDriver
	return conflist.Definition{Name: d.Name, Labels: d.labels, About: about}
}

// Uses are the networks of Docker's drivers that can be made from a configuration for others, for the plugins to judge. None: only the node
// agent can make one. The error says why nothing can be made from it.
func Uses(ctx context.Context, o Order, site Site) ([]conflist.Definition, error) {
	d, err := read(o, site)
	if err != nil {
		return nil, err
	}
	return d.uses(ctx)
}

// uses draws the configuration as a network of each driver. That another network has a subnet or a bridge of the name meanwhile does not
// matter: it may have gone when a network is made.
func (d *draft) uses(ctx context.Context) (drawn []conflist.Definition, err error) {
	if err := d.checkTemplate(ctx); err != nil {
		return nil, err
	}
	if err := d.checkKnown(); err != nil {
		return nil, err
	}
	var refusals []error
	byAgent := false
	for _, dialect := range dialects {
		use := *d
		use.ConfigOnly, use.Driver, use.site.Networks = false, dialect.driver, conflist.Networks{}
		use.options, use.pools = maps.Clone(d.options), slices.Clone(d.pools)
		definition, err := use.drawUse(ctx)
		switch {
		case err == nil && use.ByAgent():
			byAgent = true
		case err == nil:
			drawn = append(drawn, definition)
		case d.fits(dialect):
			refusals = append(refusals, err)
		}
	}
	if len(drawn) > 0 || byAgent {
		return drawn, nil
	}
	return nil, refusals[0]
}

// drawUse draws a network of one driver.
func (d *draft) drawUse(ctx context.Context) (conflist.Definition, error) {
	if err := d.check(); err != nil {
		return conflist.Definition{}, err
	}
	if d.choosesPools() {
		if err := d.addMissing(d.site.Host.Taken); err != nil {
			return conflist.Definition{}, err
		}
	}
	if d.ByAgent() {
		_, err := d.overlayKeys()
		return conflist.Definition{}, err
	}
	return d.definition(ctx)
}

// fits says whether a driver understands all options.
func (d *draft) fits(of dialect) bool {
	for option := range d.options {
		if !of.has(option) {
			return false
		}
	}
	return true
}

// checkKnown refuses options that no driver has, or no single one together.
func (d *draft) checkKnown() error {
	if slices.ContainsFunc(dialects, d.fits) {
		return nil
	}
	options := slices.Sorted(maps.Keys(d.options))
	for _, option := range options {
		if !slices.ContainsFunc(dialects, func(of dialect) bool { return of.has(option) }) {
			_, err := bridgeDialect.key(option) // which knows what Docker's mean
			return fmt.Errorf("no network could be made from it: %w", err)
		}
	}
	return fmt.Errorf("no network could be made from it: no driver honours all of the options %s", strings.Join(options, ", "))
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
