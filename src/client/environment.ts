/**
 * Sets variables, and answers what puts back what was there. A variable that somebody else has changed meanwhile stays as it is.
 * @param environment the whole process's: two leases at the same time see each other's.
 */
export function setEnvironment(
  environment: Record<string, string | undefined>,
  variables: Readonly<Record<string, string>>,
): () => void {
  const before = Object.keys(variables).map((name) => [name, environment[name]] as const);
  Object.assign(environment, variables);
  return () => {
    for (const [name, value] of before) {
      if (environment[name] !== variables[name]) continue;
      // Assigning undefined to process.env would make it the text "undefined".
      if (value === undefined) delete environment[name];
      else environment[name] = value;
    }
  };
}
