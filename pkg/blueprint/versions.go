package blueprint

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containernetworking/cni/pkg/version"

	"github.com/fairway-cni/fairway/pkg/driver"
)

// wanted are the versions of CNI to write, in ascending order: the one that every runtime of today knows, and the one that
// has GC and STATUS.
var wanted = []string{"1.0.0", "1.1.0"}

// versions are those of wanted that all plugins know, or the newest that they have in common.
func (d *draft) versions(ctx context.Context, plugins []plugin) ([]string, error) {
	var common []string
	for i, kind := range d.executed(ctx, plugins) {
		known, err := d.site.Plugins.Versions(ctx, kind)
		switch {
		case errors.Is(err, driver.ErrNoPlugin):
			return nil, fmt.Errorf("driver %s: %w", d.Driver, err)
		case err != nil:
			return nil, err
		}
		if i == 0 {
			common = known
			continue
		}
		common = intersection(common, known)
	}
	if len(common) == 0 {
		return nil, fmt.Errorf("driver %s: its plugins have no CNI version in common: update them", d.Driver)
	}
	if both := intersection(wanted, common); len(both) > 0 {
		return both, nil
	}
	return []string{slices.MaxFunc(common, compareVersions)}, nil
}

// executed are the types of all plugins that an attachment executes. Ours have host-local within.
func (d *draft) executed(ctx context.Context, plugins []plugin) []string {
	var kinds []string
	for _, p := range plugins {
		kinds = append(kinds, p.kind)
		switch ipam := p.keys["ipam"].(type) {
		case plugin:
			kinds = append(kinds, ipam.kind)
		case hostLocal:
			if !d.site.Plugins.Fairway(ctx, p.kind) {
				kinds = append(kinds, ipam.Type)
			}
		}
	}
	return kinds
}

func intersection(a, b []string) (both []string) {
	for _, v := range a {
		if slices.Contains(b, v) {
			both = append(both, v)
		}
	}
	return both
}

// compareVersions puts what is no version first.
func compareVersions(a, b string) int {
	if a == b {
		return 0
	}
	if newer, err := version.GreaterThan(a, b); err == nil && newer {
		return 1
	}
	return -1
}
