package names

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// example is a record with every key.
func example() Record {
	return Record{
		Version: Version,
		Owner:   Owner{Network: "lamp", ContainerID: "0123456789abcdef", IfName: "eth0"},
		Names:   []string{"web"}, Aliases: []string{"apache"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("fd01::2")},
		MAC:       "02:00:00:00:00:01",
		Netns:     Netns{Path: "/run/netns/web", Dev: 4, Inode: 4026532000, Cookie: 17},
		Host:      []netip.Addr{netip.MustParseAddr("10.1.0.1")},
		Internal:  true,
		Servers:   []netip.Addr{netip.MustParseAddr("192.0.2.53")},
	}
}

// The form is an interface between processes: what is written here is in docs/names.md, too.
const exampleText = `{"version":1,"owner":{"network":"lamp","containerID":"0123456789abcdef","ifname":"eth0"},` +
	`"names":["web"],"aliases":["apache"],"addresses":["10.1.0.2","fd01::2"],"mac":"02:00:00:00:00:01",` +
	`"netns":{"path":"/run/netns/web","dev":4,"inode":4026532000,"cookie":17},"host":["10.1.0.1"],"internal":true,"servers":["192.0.2.53"]}`

func TestForm(t *testing.T) {
	text, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exampleText, string(text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, err := Decode([]byte(exampleText))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(), got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := Decode([]byte(strings.Replace(exampleText, `"mac"`, `"later":{"key":1},"mac"`, 1))); err != nil {
		t.Errorf("a key of a later release: %v", err)
	}
}

// TestEncode holds what is written against encoding/json: the example, and what it is without each of its keys.
func TestEncode(t *testing.T) {
	all := []Record{example()}
	for i := range reflect.TypeFor[Record]().NumField() {
		r := example()
		reflect.ValueOf(&r).Elem().Field(i).SetZero()
		if r.Addresses == nil {
			r.Addresses = []netip.Addr{}
		}
		all = append(all, r)
	}
	odd := example()
	odd.Netns = Netns{Path: "/run/\"a<b>\x01/ü"}
	for _, r := range append(all, odd) {
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(r.encode())); diff != "" {
			t.Errorf("(-encoding/json +ours):\n%s", diff)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{
		"a", "web-1", "My Name", "a.b.c", "_x", "ä", strings.Repeat("x", 63), strings.Repeat(strings.Repeat("x", 49)+".", 5) + "xyz",
	} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"":                        "it is empty",
		".":                       "empty part",
		"a..b":                    "empty part",
		"a.":                      "empty part",
		strings.Repeat("x", 64):   "a part of 64 bytes",
		strings.Repeat("x.", 127): "has 254 bytes",
		"a\nb":                    "control character",
		"a\x00":                   "control character",
		"\xff":                    "not UTF-8",
	} {
		if err := CheckName(name); !errors.Is(err, ErrName) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

func TestRecordRefuses(t *testing.T) {
	for want, change := range map[string]func(*Record){
		"version is 2":        func(r *Record) { r.Version = 2 },
		"owner is incomplete": func(r *Record) { r.Owner.IfName = "" },
		"is longer than":      func(r *Record) { r.Owner.Network = strings.Repeat("x", longestText+1) },
		"more than 256 names": func(r *Record) { r.Aliases = make([]string, mostNames+1) },
		"64 addresses":        func(r *Record) { r.Addresses = make([]netip.Addr, mostAddresses+1) },
		"address is empty":    func(r *Record) { r.Host = []netip.Addr{{}} },
		"not a name":          func(r *Record) { r.Names = append(r.Names, "a..b") },
	} {
		r := example()
		change(&r)
		if err := r.Check(); !errors.Is(err, ErrRecord) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(exampleText))
	f.Add([]byte(`{"version":1,"addresses":[""],"netns":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Decode(text)
		if err != nil {
			return
		}
		x := NewIndex()
		x.Set("k", r)
		for _, name := range r.Names {
			if _, known := x.LookupIn(r.Owner.Network, name); !known {
				t.Errorf("%q is unknown", name)
			}
		}
		x.Delete("k")
		if len(x.networks)+len(x.spaces)+len(x.records) != 0 {
			t.Errorf("left: %+v", x)
		}
	})
}

func TestDirectory(t *testing.T) {
	d := Directory(filepath.Join(t.TempDir(), "a", "names"))
	if files, err := d.Files(); len(files) > 0 || err != nil {
		t.Errorf("without a directory: %v, %v", files, err)
	}
	r := example()
	if err := d.Put(r); err != nil {
		t.Fatal(err)
	}
	r.Aliases = nil
	if err := d.Put(r); err != nil { // in place of it
		t.Fatal(err)
	}
	files, err := d.Files()
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(string(d), files[0]), &st); err != nil || st.Mode&0o777 != 0o644 {
		t.Errorf("mode %o, %v", st.Mode, err)
	}
	got, err := d.Record(r.Owner)
	if err != nil || len(got.Aliases) != 0 {
		t.Errorf("record %+v, %v", got, err)
	}
	for range 2 {
		if err := d.Remove(r.Owner); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if _, err := d.Record(r.Owner); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after its removal: %v", err)
	}
}

// What is read decides where names lead: nothing is followed out of the directory, and nobody else may write to it.
func TestDirectoryIsSafe(t *testing.T) {
	d := Directory(t.TempDir())
	outside := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(outside, []byte(exampleText), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(string(d), "link.json")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(string(d), "pipe.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(string(d), "dir.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(string(d), "huge.json"), make([]byte, maxRecord+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(example()); err != nil {
		t.Fatal(err)
	}
	all, err := d.Records()
	if len(all) != 1 || err == nil {
		t.Errorf("records %v, error %v", all, err)
	}
	if err := os.Chmod(string(d), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(example()); err == nil || !strings.Contains(err.Error(), "others may write to it") {
		t.Errorf("a directory of all: %v", err)
	}
}

// Nobody reads half a record, however many write it.
func TestPutIsAtomic(t *testing.T) {
	d := Directory(t.TempDir())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			r := example()
			for range 200 {
				r.Aliases = []string{strings.Repeat("x", 1+i*20)}
				r.Owner.ContainerID = "c" // one process has one temporary file for an owner
				r.Owner.IfName = string(rune('a' + i))
				if err := d.Put(r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for {
		if _, err := d.Records(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// TestSweep: what a killed process has left goes; what a living one is writing stays, and so does what is none of ours.
func TestSweep(t *testing.T) {
	d := Directory(t.TempDir())
	if err := d.Put(example()); err != nil {
		t.Fatal(err)
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	file := example().Owner.file()
	left := fmt.Sprintf(".%s.%d", file, ended.Process.Pid)
	kept := []string{fmt.Sprintf(".%s.%d", file, os.Getpid()), ".resolver", ".other." + fmt.Sprint(ended.Process.Pid), file}
	for _, name := range append(kept[:3:3], left) {
		if err := os.WriteFile(filepath.Join(string(d), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	slices.Sort(kept)
	if diff := cmp.Diff(kept, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if err := Directory(filepath.Join(string(d), "none")).Sweep(); err != nil {
		t.Error(err)
	}
}
