package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"golang.org/x/sync/errgroup"

	"github.com/fairway-cni/fairway/pkg/conflist"
)

// checkPlugins looks for the plugins of the networks, and asks each what it is.
func checkPlugins(ctx context.Context, h *Host) ([]Finding, error) {
	uses := h.uses()
	found := make([][]Finding, len(uses))
	var group errgroup.Group
	group.SetLimit(8) // all that hang are waited for at once
	for i, use := range uses {
		group.Go(func() error {
			found[i] = h.checkPlugin(ctx, use)
			return nil
		})
	}
	_ = group.Wait() // nothing fails
	return slices.Concat(found...), nil
}

// use is a plugin with the networks that need it.
type use struct {
	plugin   string
	networks []conflist.Network
}

// uses lists the plugins that networks name, IPAM plugins included, in order of their names.
func (h *Host) uses() []use {
	var uses []use
	for _, n := range h.networks() {
		for _, p := range n.List.Plugins {
			names := []string{p.Network.Type}
			var conf struct {
				IPAM struct {
					Type string `json:"type"`
				} `json:"ipam"`
			}
			if json.Unmarshal(p.Bytes, &conf) == nil && conf.IPAM.Type != "" {
				names = append(names, conf.IPAM.Type)
			}
			for _, name := range names {
				uses = addUse(uses, name, n)
			}
		}
	}
	slices.SortFunc(uses, func(a, b use) int { return strings.Compare(a.plugin, b.plugin) })
	return uses
}

func addUse(uses []use, plugin string, n conflist.Network) []use {
	for i, u := range uses {
		if u.plugin == plugin {
			uses[i].networks = append(u.networks, n)
			return uses
		}
	}
	return append(uses, use{plugin, []conflist.Network{n}})
}

func (u use) names() string {
	var names []string
	for _, n := range u.networks {
		if !slices.Contains(names, n.Name) {
			names = append(names, n.Name)
		}
	}
	return some(names)
}

func (h *Host) checkPlugin(ctx context.Context, u use) []Finding {
	dirs := h.Runtime.Plugins
	path, err := invoke.FindInPath(u.plugin, dirs)
	if err != nil {
		return []Finding{errorf("plugin %s of %s is in none of %s", u.plugin, u.names(), strings.Join(dirs, ", ")).
			remedy("install it there, or name its directory by --cni-path")}
	}
	if info, err := os.Stat(path); err == nil && info.Mode()&0o111 == 0 {
		return []Finding{errorf("plugin %s of %s is not executable", path, u.names()).command("chmod 0755 %s", shell(path))}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	info, err := invoke.GetVersionInfo(ctx, path, h.Runtime.Exec())
	if errors.Is(err, context.DeadlineExceeded) {
		h.silent.note(u.plugin)
		return []Finding{errorf("plugin %s of %s does not answer VERSION within %s", path, u.names(), patience).
			remedy("see what it waits for: containers of its networks wait for it too")}
	}
	if err != nil {
		return []Finding{errorf("plugin %s of %s does not answer VERSION: %v", path, u.names(), err).remedy("install it anew")}
	}
	var findings []Finding
	for _, n := range u.networks {
		if !slices.Contains(info.SupportedVersions(), n.List.CNIVersion) {
			findings = append(findings, errorf("plugin %s does not know CNI %s, which %s wants", path, n.List.CNIVersion, where(n)).
				remedy("install a newer one, or lower cniVersion in the file"))
		}
	}
	return append(findings, h.checkOrigin(ctx, path, u)...)
}

// ours are the plugins of fairway. loopback is another name of none.
var ours = []string{"bridge", "host", "host-local", "loopback", "macvlan", "none", "overlay-vxlan", "portmap", "firewall", "tuning", "bandwidth", "static", "ptp", "sbr"}

// checkOrigin tells plugins of fairway from others of the same name, and old ones from new ones.
func (h *Host) checkOrigin(ctx context.Context, path string, u use) []Finding {
	if !slices.Contains(ours, filepath.Base(path)) {
		return nil
	}
	release, ours := releaseOf(ctx, path)
	switch {
	case !ours:
		if keys := ownKeys(u.networks); keys != "" {
			return []Finding{errorf("plugin %s is not fairway's: it ignores %s", path, keys).remedy("install fairway's")}
		}
	case older(release, h.Version):
		return []Finding{warningf("plugin %s is of fairway %s, and this is %s", path, release, h.Version).remedy("install the plugins of this release")}
	}
	return nil
}

// ownKeys names the keys in use that only fairway's plugins know, with the first network that has each.
func ownKeys(networks []conflist.Network) string {
	var found []string
	for _, n := range networks {
		var keys map[string]json.RawMessage
		if json.Unmarshal(n.List.Plugins[0].Bytes, &keys) != nil {
			continue // libcni has read it
		}
		for _, key := range []string{"internal", "icc", "isolated", "hostAccess"} {
			if _, ok := keys[key]; ok {
				found = append(found, fmt.Sprintf("key %s of network %s", key, n.Name))
			}
		}
	}
	return some(found)
}

var about = regexp.MustCompile(`CNI plugin of fairway (\S+),`)

// releaseOf asks a plugin what it is: without CNI_COMMAND, plugins say so for people.
func releaseOf(ctx context.Context, path string) (release string, ours bool) {
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = time.Second // for what a plugin leaves behind with its output
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", false
	}
	if match := about.FindSubmatch(said); match != nil {
		return string(match[1]), true
	}
	return "", false
}

// older compares two releases, as v1.2.3 or with what git describe adds. Of anything else nothing is known.
func older(a, b string) bool {
	x, xOK := numbers(a)
	y, yOK := numbers(b)
	return xOK && yOK && slices.Compare(x[:], y[:]) < 0
}

// described is what git describe writes: the last tag, the number of commits since, and the commit.
var described = regexp.MustCompile(`^v?(\d+)\.(\d+)\.(\d+)(?:-(\d+)-g[0-9a-f]+)?(?:-dirty)?$`)

func numbers(release string) (n [4]int, ok bool) {
	match := described.FindStringSubmatch(release)
	if match == nil {
		return n, false
	}
	for i := range n {
		n[i], _ = strconv.Atoi(match[i+1]) // digits, or none for the tag itself
	}
	return n, true
}
