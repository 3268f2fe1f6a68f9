"""What tests of more than one part use: peers, processes, media, clocks, sockets."""
