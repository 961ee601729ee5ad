package e2e

import (
	"image"
	"image/color"
	_ "image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are those that pkg/picture's tests compare: what a browser makes of them is tested here.
const pages = "../pkg/picture/testdata"

// browse has a real browser load a page. It listens to nobody and asks nobody.
func browse(t *testing.T, url string, args ...string) string {
	t.Helper()
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1",
		"--blink-settings=preferredColorScheme=1", "--window-size=1200,1000", "--virtual-time-budget=5000", "--user-data-dir=" + t.TempDir(),
	}, append(args, url)...)
	cmd := exec.Command("chromium", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium %s: %v", url, err)
	}
	return string(out)
}

func pageURL(t *testing.T, name, query string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(pages, name+".html"))
	if err != nil {
		t.Fatal(err)
	}
	return "file://" + path + query
}

// chipName finds the containers that a page shows: those of the list that are not hidden.
var chipName = regexp.MustCompile(`<li class="chip[^"]*" data-c="[^"]*"( hidden="[^"]*")?><b>([^<]*)</b>`)

func shownChips(dom string) []string {
	var shown []string
	for _, m := range chipName.FindAllStringSubmatch(dom, -1) {
		if m[1] == "" {
			shown = append(shown, m[2])
		}
	}
	return shown
}

func TestTopologyPageFoldsAndSearches(t *testing.T) {
	dom := browse(t, pageURL(t, "crowd", ""), "--dump-dom")
	if shown := shownChips(dom); len(shown) != 15 || !strings.Contains(dom, ">show 15 more</button>") {
		t.Errorf("folded: %d containers shown, want 15 and a button for as many: %v", len(shown), shown)
	}
	dom = browse(t, pageURL(t, "crowd", "#q=shop-2"), "--dump-dom")
	want := "shop-2 shop-20 shop-22 shop-23 shop-25 shop-26 shop-28 shop-29"
	if shown := strings.Join(shownChips(dom), " "); shown != want {
		t.Errorf("searched for shop-2: %s, want %s", shown, want)
	}
	if dom = browse(t, pageURL(t, "office", "#q=198.51.100.7"), "--dump-dom"); strings.Join(shownChips(dom), " ") != "web" {
		t.Errorf("searched for an address: %v, want web", shownChips(dom))
	}
	if dom = browse(t, pageURL(t, "hostile", ""), "--dump-dom"); strings.Contains(dom, "<script>alert") {
		t.Error("a container's name is executed")
	}
}

// TestTopologyPageLooks compares screenshots by the mean colours of squares, as versions of a browser smooth letters in
// slightly different ways.
func TestTopologyPageLooks(t *testing.T) {
	for _, name := range []string{"office", "crowd"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), name+".png")
			browse(t, pageURL(t, name, ""), "--screenshot="+file)
			golden := filepath.Join("testdata", "topology-"+name+".png")
			got, want := tiles(t, file), tiles(t, golden)
			if len(got) != len(want) {
				t.Fatalf("%d squares, want %d of %s", len(got), len(want), golden)
			}
			differ := 0
			for i := range got {
				if far(got[i], want[i]) {
					differ++
				}
			}
			if most := len(want) / 50; differ > most {
				t.Errorf("%d of %d squares differ from %s, at most %d may", differ, len(want), golden, most)
			}
		})
	}
}

// tiles are the mean colours of an image's squares of 20 pixels.
func tiles(t *testing.T, path string) []color.RGBA {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	picture, _, err := image.Decode(file)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	const side = 20
	var means []color.RGBA
	for y := picture.Bounds().Min.Y; y+side <= picture.Bounds().Max.Y; y += side {
		for x := picture.Bounds().Min.X; x+side <= picture.Bounds().Max.X; x += side {
			means = append(means, mean(picture, image.Rect(x, y, x+side, y+side)))
		}
	}
	return means
}

func mean(picture image.Image, square image.Rectangle) color.RGBA {
	var r, g, b uint32
	for y := square.Min.Y; y < square.Max.Y; y++ {
		for x := square.Min.X; x < square.Max.X; x++ {
			pr, pg, pb, _ := picture.At(x, y).RGBA()
			r, g, b = r+pr>>8, g+pg>>8, b+pb>>8
		}
	}
	n := uint32(square.Dx() * square.Dy())
	return color.RGBA{uint8(r / n), uint8(g / n), uint8(b / n), 255}
}

// far says whether two colours are further apart than smoothing makes them.
func far(a, b color.RGBA) bool {
	const most = 40
	distance := func(x, y uint8) int { return max(int(x)-int(y), int(y)-int(x)) }
	return distance(a.R, b.R) > most || distance(a.G, b.G) > most || distance(a.B, b.B) > most
}
