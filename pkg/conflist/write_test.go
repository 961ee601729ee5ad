package conflist

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"
)

func definition(name string) Definition {
	return Definition{
		Name:        name,
		CNIVersions: []string{"1.0.0", "1.1.0"},
		Plugins:     []any{map[string]any{"type": "bridge", "bridge": "br-" + name}},
		Labels:      map[string]string{"a": "1 < 2"},
		About:       About{Driver: "bridge", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Options: map[string]string{"o": "p"}},
	}
}

// create takes the lock for one network.
func create(dir string, d Definition) (Network, error) {
	lock, err := Acquire(dir)
	if err != nil {
		return Network{}, err
	}
	defer lock.Release()
	return lock.Create(d)
}

func TestCreateAndRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "net.d")
	created, err := create(dir, definition("web"))
	if err != nil {
		t.Fatal(err)
	}
	ns := load(t, dir)
	read, err := ns.Find("web")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(created, read); diff != "" {
		t.Errorf("what is read (-created +read):\n%s", diff)
	}
	if !read.Created.Equal(definition("web").About.Created) || !read.HasLabel("a=1 < 2") || read.Options["o"] != "p" || read.ID != IDOf("web") {
		t.Errorf("got %+v", read)
	}
	if info, err := os.Stat(read.File); err != nil || info.Mode() != 0o644 {
		t.Errorf("file: got %v, %v, want mode 0644", info, err)
	}
	// As any runtime reads it.
	list, err := libcni.LoadNetworkConf(dir, "web")
	if err != nil || list.CNIVersion != "1.1.0" || len(list.Plugins) != 1 {
		t.Errorf("libcni: got %+v, %v", list, err)
	}

	lock, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	for range 2 {
		if err := lock.Remove(read); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != lockName {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
}

func TestCreateIsExclusive(t *testing.T) {
	dir := lay(t, map[string]string{
		"hand.conf":             `{"name": "hand", "type": "bridge"}`,
		"fairway-file.conflist": `{"name": "other", "plugins": [{"type": "none"}]}`,
	})
	for _, name := range []string{"hand", "file"} {
		if _, err := create(dir, definition(name)); !errors.Is(err, ErrExists) {
			t.Errorf("create %s: got %v, want %v", name, err, ErrExists)
		}
	}
	lock, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if _, err := lock.Replace(definition("hand")); !errors.Is(err, ErrExists) {
		t.Errorf("replace of another's network: got %v, want %v", err, ErrExists)
	}
}

func TestConcurrentCreatesYieldOneNetwork(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	results := make([]error, 20)
	for i := range results {
		group.Go(func() {
			d := definition("web")
			d.Labels = map[string]string{"by": fmt.Sprint(i)}
			_, results[i] = create(dir, d)
		})
	}
	group.Wait()
	made := -1
	for i, err := range results {
		switch {
		case err == nil && made < 0:
			made = i
		case !errors.Is(err, ErrExists):
			t.Errorf("create %d: got %v, want %v", i, err, ErrExists)
		}
	}
	ns := load(t, dir)
	web, err := ns.Find("web")
	if err != nil || !web.HasLabel(fmt.Sprintf("by=%d", made)) || len(ns.All) != 4 {
		t.Errorf("after %d won: got %+v, %v", made, ns.All, err)
	}
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	lock, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	for _, value := range []string{"1", "2"} {
		d := definition("web")
		d.Labels = map[string]string{"round": value}
		if _, err := lock.Replace(d); err != nil {
			t.Fatal(err)
		}
	}
	web, err := load(t, dir).Find("web")
	if err != nil || !web.HasLabel("round=2") {
		t.Errorf("got %+v, %v", web, err)
	}
}

func TestTemplateIsNoRuntimesNetwork(t *testing.T) {
	dir := t.TempDir()
	d := Definition{Name: "base", About: About{Driver: "null", ConfigOnly: true, Internal: true}}
	created, err := create(dir, d)
	if err != nil {
		t.Fatal(err)
	}
	read, err := load(t, dir).Find("base")
	if err != nil || !read.ConfigOnly || !read.Internal || read.List != nil {
		t.Errorf("got %+v, %v", read, err)
	}
	if diff := cmp.Diff(created, read); diff != "" {
		t.Errorf("what is read (-created +read):\n%s", diff)
	}
	if files, err := libcni.ConfFiles(dir, []string{".conf", ".conflist", ".json"}); err != nil || len(files) != 0 {
		t.Errorf("files that runtimes read: got %v, %v, want none", files, err)
	}
}

func TestDefinitionsThatCannotBe(t *testing.T) {
	for name, test := range map[string]struct {
		definition Definition
		want       string
	}{
		"name":    {Definition{Name: "-x", Plugins: []any{map[string]any{"type": "none"}}}, "cannot be the name"},
		"path":    {Definition{Name: "a/b", Plugins: []any{map[string]any{"type": "none"}}}, "cannot be the name"},
		"long":    {Definition{Name: strings.Repeat("x", 201)}, "201 characters"},
		"plugins": {Definition{Name: "x"}, "no plugins"},
		"type":    {Definition{Name: "x", Plugins: []any{map[string]any{}}}, "type"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := create(dir, test.definition); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 1 { // the lock's
				t.Errorf("left in the directory: %v", entries)
			}
		})
	}
}
