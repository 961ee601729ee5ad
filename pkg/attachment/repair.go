package attachment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/pluginpath"
)

// How a plugin of fairway is told to declare rules again (package attach, RedeclareVariable).
const (
	redeclareAll = "FAIRWAY_REDECLARE=all"
	redeclareOwn = "FAIRWAY_REDECLARE=own"
)

// Repair declares again what filters and translates the packets of attachments that are alive: of one network, or of all when
// network is empty. Plugins of other suites are left alone. It goes on past errors; repaired are those without any.
func (r Runtime) Repair(ctx context.Context, network string) (repaired []Attachment, err error) {
	all, err := r.List()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(a Attachment) bool { return network != "" && a.Network != network || !a.Alive() })
	latest := newest(all)
	fairway := &knownPlugins{path: pluginpath.Path(r.Plugins)}
	errs := make([]error, len(all))
	var group errgroup.Group
	group.SetLimit(4) // plugins are short, and the kernel changes rules one at a time
	for i, a := range all {
		group.Go(func() error {
			how := redeclareOwn
			if latest[a.Network] == i {
				how = redeclareAll
			}
			errs[i] = r.repair(ctx, a, how, fairway)
			return nil
		})
	}
	_ = group.Wait() // each error is kept
	for i, a := range all {
		if errs[i] == nil {
			repaired = append(repaired, a)
		}
	}
	return repaired, errors.Join(errs...)
}

// newest is the attachment of each network that was made last: what its configuration says of the network holds.
func newest(all []Attachment) map[string]int {
	last := make(map[string]int)
	latest := make(map[string]int64)
	for i, a := range all {
		var made int64
		if info, err := os.Stat(a.file()); err == nil {
			made = info.ModTime().UnixNano()
		}
		if before, known := latest[a.Network]; !known || made >= before {
			last[a.Network], latest[a.Network] = i, made
		}
	}
	return last
}

func (r Runtime) repair(ctx context.Context, a Attachment, how string, fairway *knownPlugins) error {
	if a.Unrecorded {
		return fmt.Errorf("network %s: container %s: no runtime has recorded the attachment: attach it again", a.Network, a.DisplayName())
	}
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	// libcni passes CHECK on from 0.4.0, and where nobody has switched it off; what plugins are asked for here is no CHECK.
	conf.DisableCheck = false
	if ok, err := version.GreaterThanOrEqualTo(conf.CNIVersion, "0.4.0"); err != nil || !ok {
		conf.CNIVersion = "0.4.0"
	}
	exec := &redeclarer{Exec: r.exec(), how: how, fairway: fairway}
	if err := libcni.NewCNIConfigWithCacheDir(r.Plugins, cmp.Or(a.cache, r.dir()), exec).CheckNetworkList(ctx, conf, a.runtimeConf()); err != nil {
		exec.errs = append(exec.errs, err)
	}
	if err := errors.Join(exec.errs...); err != nil {
		return fmt.Errorf("network %s: container %s: %w", a.Network, a.DisplayName(), err)
	}
	return nil
}

// redeclarer executes the plugins of fairway, one after the other also past errors, and no others.
type redeclarer struct {
	invoke.Exec
	how     string
	fairway *knownPlugins
	errs    []error
}

func (r *redeclarer) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	if !r.fairway.has(ctx, path) {
		return nil, nil
	}
	_, err := r.Exec.ExecPlugin(ctx, path, stdin, append(environ, r.how))
	if err != nil {
		r.errs = append(r.errs, pluginError(filepath.Base(path), err))
	}
	return nil, nil
}

// knownPlugins remembers which plugins are fairway's.
type knownPlugins struct {
	path pluginpath.Path
	mu   sync.Mutex
	of   map[string]bool
}

func (k *knownPlugins) has(ctx context.Context, path string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	is, known := k.of[path]
	if !known {
		is = k.path.Fairway(ctx, strings.TrimSpace(filepath.Base(path)))
		if k.of == nil {
			k.of = make(map[string]bool)
		}
		k.of[path] = is
	}
	return is
}
