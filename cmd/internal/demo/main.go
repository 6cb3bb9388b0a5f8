// Demo plays the whole loop with the real programs, two software TPMs and a FAT image as the stick, and says what it sees, a line each.
//
// It ends with "demo: ok", or with status 1 at the first thing that is not so. It is never shipped.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	bin := flag.String("bin", "bin", "directory of the programs")
	keep := flag.Bool("keep", false, "keep the directory of this run")
	flag.Parse()
	if err := play(*bin, *keep); err != nil {
		fmt.Fprintf(os.Stderr, "demo: FAILED: %v\n", err)
		os.Exit(1)
	}
}

// notSo is what a step ends the demo with: the programs ran, and something was not as promised.
type notSo struct{ what string }

func (e notSo) Error() string { return e.what }

func play(bin string, keep bool) (err error) {
	begin := time.Now()
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lh") // short, because of the sockets in it
	if err != nil {
		return err
	}
	s := &stage{bin: bin, dir: dir}
	defer func() {
		s.clear()
		if keep || err != nil {
			fmt.Fprintln(os.Stderr, "demo: the files of this run are in", dir)
		} else {
			os.RemoveAll(dir)
		}
	}()
	// The steps stop at the first thing that is not so, by panicking with what it is; every other panic is a bug and goes on.
	defer func() {
		var n notSo
		switch p := recover().(type) {
		case nil:
		case error:
			if !errors.As(p, &n) {
				panic(p)
			}
			err = n
		default:
			panic(p)
		}
	}()
	s.story()
	fmt.Printf("demo: ok (%s)\n", time.Since(begin).Round(time.Second))
	return nil
}
