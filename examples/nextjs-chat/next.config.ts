import type { NextConfig } from "next";

const config: NextConfig = {
  poweredByHeader: false,
  // Another package-lock.json further up must not make that folder the root.
  turbopack: { root: import.meta.dirname },
};

export default config;
