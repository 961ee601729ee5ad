package wgkey

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPublic is the pair of RFC 7748, 6.1.
func TestPublic(t *testing.T) {
	p, err := Parse([]byte("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Public().String(), "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="; got != want {
		t.Errorf("public key %s, want %s", got, want)
	}
	for _, text := range []string{fmt.Sprint(p), fmt.Sprintf("%v %+v %#v %s", p, p, p, p), fmt.Sprintf("%+v", struct{ Key Private }{p})} {
		if strings.Contains(text, "dwdt") || strings.Contains(text, "119") || strings.Contains(text, "0x") {
			t.Errorf("the key is printed: %s", text)
		}
	}
}

func TestCreate(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path+".new", []byte("of a process that was killed"), 0o644); err != nil {
		t.Fatal(err)
	}
	made, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if read, err := Read(path); err != nil || read != made {
		t.Errorf("read again: the same %t, %v", read == made, err)
	}
	if _, err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	if read, err := Read(path); err != nil || read != made {
		t.Errorf("after that: the same %t, %v", read == made, err)
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 1 {
		t.Errorf("files are left beside: %v, %v", names, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, test := range []struct {
		name, text string
		mode       fs.FileMode
		want       string
	}{
		{"others may read", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", 0o640, "may be read or written by others (mode 0640)"},
		{"empty", "", 0o600, "is empty"},
		{"text", "secret", 0o600, "not a private key in base64"},
		{"short", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25", 0o600, "not a private key in base64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
				t.Fatal(err)
			}
			_, err := Read(path)
			if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), test.want) || test.text != "" && strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v", err)
			}
		})
	}
}
