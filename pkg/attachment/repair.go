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
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/driver"
)

// How a plugin of fairway is told to declare rules again (package attach, RedeclareVariable), and the code of its answer when the
// attachment has no link (package cnierr).
const (
	redeclareAll = "FAIRWAY_REDECLARE=all"
	redeclareOwn = "FAIRWAY_REDECLARE=own"
	detached     = 101
)

// Repair declares again what filters and translates the packets of attachments that are alive: of one network, or of all when
// network is empty. Plugins of other suites are left alone. It goes on past errors; repaired are those without any.
func (r Runtime) Repair(ctx context.Context, network string) (repaired []Attachment, err error) {
	all, err := r.List()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(a Attachment) bool { return network != "" && a.Network != network || !a.Alive() })
	fairway := &knownPlugins{path: driver.Path(r.Plugins)}
	errs := make([]error, len(all))
	leaders := make(chan []int, len(all))
	var group errgroup.Group
	group.SetLimit(4) // plugins are short, and the kernel changes rules one at a time
	for _, members := range newestFirst(all) {
		group.Go(func() error {
			// What all share is declared by the newest, whose configuration counts. It may be leaving at this moment, or have lost its link.
			for n, i := range members {
				var declared bool
				if declared, errs[i] = r.repair(ctx, all[i], redeclareAll, fairway); declared {
					leaders <- members[n+1:]
					break
				}
			}
			return nil
		})
	}
	_ = group.Wait() // each error is kept
	close(leaders)
	for others := range leaders {
		for _, i := range others {
			group.Go(func() error {
				_, errs[i] = r.repair(ctx, all[i], redeclareOwn, fairway)
				return nil
			})
		}
	}
	_ = group.Wait() // likewise
	for i, a := range all {
		if errs[i] == nil {
			repaired = append(repaired, a)
		}
	}
	return repaired, errors.Join(errs...)
}

// newestFirst are the attachments of each network, by when they were made.
func newestFirst(all []Attachment) map[string][]int {
	networks := make(map[string][]int)
	made := make([]int64, len(all))
	for i, a := range all {
		if info, err := os.Stat(a.file()); err == nil {
			made[i] = info.ModTime().UnixNano()
		}
		networks[a.Network] = append(networks[a.Network], i)
	}
	for _, members := range networks {
		slices.SortFunc(members, func(a, b int) int { return cmp.Compare(made[b], made[a]) })
	}
	return networks
}

// repair says whether each plugin of fairway has declared what it was asked for.
func (r Runtime) repair(ctx context.Context, a Attachment, how string, fairway *knownPlugins) (declared bool, err error) {
	if a.Unrecorded {
		return false, fmt.Errorf("network %s: container %s: no runtime has recorded the attachment: attach it again", a.Network, a.DisplayName())
	}
	conf, err := a.configuration()
	if err != nil {
		return false, err
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
		return false, fmt.Errorf("network %s: container %s: %w", a.Network, a.DisplayName(), err)
	}
	return !exec.detached, nil
}

// redeclarer executes the plugins of fairway, one after the other also past errors, and no others.
type redeclarer struct {
	invoke.Exec
	how     string
	fairway *knownPlugins
	errs    []error
	// detached says that a plugin found no link of the attachment.
	detached bool
}

func (r *redeclarer) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	ours, err := r.fairway.has(ctx, path)
	if ours {
		_, err = r.Exec.ExecPlugin(ctx, path, stdin, append(environ, r.how))
	}
	var answer *types.Error
	switch {
	case errors.As(err, &answer) && answer.Code == detached:
		r.detached = true
	case err != nil:
		r.errs = append(r.errs, pluginError(filepath.Base(path), err))
	}
	return nil, nil
}

// knownPlugins remembers which plugins are fairway's.
type knownPlugins struct {
	path driver.Path
	mu   sync.Mutex
	of   map[string]bool
}

func (k *knownPlugins) has(ctx context.Context, path string) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if is, known := k.of[path]; known {
		return is, nil
	}
	is, err := k.path.Ask(ctx, strings.TrimSpace(filepath.Base(path)))
	if err != nil {
		return false, err
	}
	if k.of == nil {
		k.of = make(map[string]bool)
	}
	k.of[path] = is
	return is, nil
}
