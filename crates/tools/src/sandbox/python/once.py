

os.closerange(3, 1024)
serve(0)
